"""Options and targets of the commands that examine a dump or a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perimortem.cli.param_type import ParamType

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination as ExaminationDocument
    from perimortem.documents.inventory import Inventory
    from perimortem.documents.report import Report

_F = TypeVar("_F", bound=Callable[..., Any])


class SymbolPlace(ParamType[Any]):
    """A folder, or the URL of a symbol server as text."""

    name = "DIR|URL"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path | str:
        if isinstance(value, Path):
            return value
        if value.startswith(("http://", "https://")):
            return str(value)
        path = Path(value)
        if not path.is_dir():
            self.fail(f"'{value}' is no directory, and no URL with http:// or https://", param, ctx)
        return path


def symbol_options(function: _F) -> _F:
    """Where names come from."""
    options = (
        click.option(
            "--symbols",
            "symbol_dirs",
            type=SymbolPlace(),
            multiple=True,
            metavar="DIR|URL",
            help="Search this directory first for programs, libraries and debug symbols, in any usual "
            "layout; or ask this symbol server (debuginfod, Microsoft's, Breakpad's). May be repeated.",
        ),
        click.option(
            "--debuginfod",
            is_flag=True,
            help="Ask debuginfod-find for missing debug symbols ($DEBUGINFOD_URLS; uses the network).",
        ),
        click.option("--no-lines", is_flag=True, help="Function names only: faster."),
        click.option("--no-python", is_flag=True, help="Native frames only."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def choose(what: str) -> int | Path:
    """A pid, unless there is a file of that name."""
    path = Path(what)
    return int(what) if what.isascii() and what.isdigit() and not path.exists() else path


def write_page(
    path: Path,
    report: Report | None,
    examination: ExaminationDocument | None,
    inventory: Inventory | None,
) -> None:
    """Write the page to a file, completely or not at all; - is standard output."""
    from perimortem.cli.output import write_whole
    from perimortem.report.html.page import render_page

    text = render_page(report, examination, inventory)
    if str(path) == "-":
        click.echo(text)
        return
    write_whole(path, text)
    click.echo(path)
