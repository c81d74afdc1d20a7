"""Options and targets of the commands that examine a dump or a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination as ExaminationDocument
    from perimortem.documents.inventory import Inventory
    from perimortem.documents.report import Report
    from perimortem.examine.options import ExamineOptions
    from perimortem.model.examination import Examination

_F = TypeVar("_F", bound=Callable[..., Any])


def symbol_options(function: _F) -> _F:
    """Where names come from."""
    options = (
        click.option(
            "--symbols",
            "symbol_dirs",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            multiple=True,
            metavar="DIR",
            help="Search this directory first for programs, libraries, .debug files (by build-id) and "
            "Breakpad .sym files. May be repeated.",
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


@contextmanager
def open_options(
    symbol_dirs: tuple[Path, ...], *, debuginfod: bool, no_lines: bool, no_python: bool
) -> Iterator[ExamineOptions]:
    """The options, shared by any number of examinations."""
    from perimortem.examine.options import ExamineOptions
    from perimortem.symbols.files import ImageLibrary

    with ImageLibrary() as library:
        yield ExamineOptions(library, symbol_dirs, debuginfod, not no_lines, not no_python)


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


@contextmanager
def open_examination(
    what: str, options: ExamineOptions, *, twice: bool = False
) -> Iterator[Examination]:
    """``what``: a file or a pid; ``twice``: take two samples of a process."""
    from perimortem.errors import PerimortemError
    from perimortem.examine.dump_file import examine_dump

    if what.isascii() and what.isdigit() and not Path(what).exists():
        from perimortem.examine import examine_process
        from perimortem.examine.two_samples import examine_twice
        from perimortem.proc import find_process

        if int(what) == os.getpid():
            raise PerimortemError("perimortem does not stop itself", remedy="name another process")
        examine = examine_twice if twice else examine_process
        with examine(find_process(int(what)), options) as examination:
            yield examination
        return
    if twice:
        raise PerimortemError(
            f"{what} cannot be sampled twice", why="it is a dump", remedy="name a process id"
        )
    with examine_dump(Path(what), options) as examination:
        yield examination
