"""``perimortem symbols check|find|dump``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from perimortem.cli.examining import SymbolPlace
from perimortem.cli.options import json_option

if TYPE_CHECKING:
    from perimortem.cli.confined import BeforeParsing
    from perimortem.documents.symbols import FoundFiles, SymbolCheck
    from perimortem.examine.options import ExamineOptions

EXAMPLES = """\b
Examples:
  perimortem symbols check server.dmp
  perimortem symbols check server.dmp --symbols ./build --symbols https://debuginfod.debian.net
  perimortem symbols find 8e2fb7c4d1a09563b0c1d2e3f4a5b6c7d8e9f0a1 --debuginfod
  perimortem symbols dump ./server -o ./symbols"""


_D = TypeVar("_D")
_F = TypeVar("_F", bound=Callable[..., Any])


def _search_options(function: _F) -> _F:
    """Where to search, and how to print what was found."""
    options = (
        click.option(
            "--symbols",
            "places",
            type=SymbolPlace(),
            multiple=True,
            metavar="DIR|URL",
            help="Search here, too: a directory in any usual layout, or a symbol server. "
            "May be repeated.",
        ),
        click.option(
            "--debuginfod", is_flag=True, help="Ask debuginfod-find, too ($DEBUGINFOD_URLS)."
        ),
        click.option(
            "--tried", "with_tried", is_flag=True, help="Show each place that was looked at."
        ),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group("symbols", epilog=EXAMPLES)
def command() -> None:
    """Debug symbols: what a dump needs and where it was looked for, and symbol files of programs."""


def _search(
    find: Callable[[ExamineOptions], _D],
    what: Path,
    places: tuple[Path | str, ...],
    *,
    debuginfod: bool,
    lines: bool,
    show: Callable[[_D], int],
) -> int:
    """The status of ``show``, which prints what was found. In a confined process."""
    from perimortem.api.examining import open_options
    from perimortem.cli.confined import examine_confined

    def run(before_parsing: BeforeParsing) -> int:
        with open_options(
            places, debuginfod=debuginfod, lines=lines, python=False, before_parsing=before_parsing
        ) as options:
            document = find(options)
        return show(document)

    return examine_confined(run, what, reads_ours=bool(places) or not os.path.exists(what))


@command.command("check")
@_search_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def check(
    file: Path,
    places: tuple[Path | str, ...],
    debuginfod: bool,
    with_tried: bool,
    as_json: bool,
) -> int:
    """Say for each module of the dump FILE what was looked for, where, and what was found."""
    from perimortem.api.symbols import check_symbols
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.symbols import render_symbols

    def show(document: SymbolCheck) -> int:
        if as_json:
            echo_document(document)
        else:
            echo_text(render_symbols(document, with_tried=with_tried))
        return 0

    def search(options: ExamineOptions) -> SymbolCheck:
        return check_symbols(file, options)

    return _search(search, file, places, debuginfod=debuginfod, lines=True, show=show)


@command.command("find")
@_search_options
@click.argument("what", metavar="BUILD-ID|FILE")
def find(
    what: str,
    places: tuple[Path | str, ...],
    debuginfod: bool,
    with_tried: bool,
    as_json: bool,
) -> int:
    """Find the program and the debug information of a build-id, or of that of an ELF file.

    The exit status is 1 if neither is found."""
    from perimortem.api.symbols import find_files
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.symbols import render_found

    def show(document: FoundFiles) -> int:
        if as_json:
            echo_document(document)
        else:
            echo_text(render_found(document, with_tried=with_tried))
        return 0 if document.program or document.debug else 1

    def search(options: ExamineOptions) -> FoundFiles:
        return find_files(what, options)

    return _search(search, Path(what), places, debuginfod=debuginfod, lines=False, show=show)


@command.command("dump")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write DIR/NAME/IDENTITY/NAME.sym, as symbol servers have it, instead of standard output.",
)
@click.argument(
    "binaries",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
)
def dump(binaries: tuple[Path, ...], output: Path | None) -> int:
    """Make Breakpad symbol files of ELF programs and libraries: functions, lines, frame data."""
    from perimortem.api.symbols import list_symbol_file
    from perimortem.cli.output import write_whole
    from perimortem.errors import PerimortemError

    if output is None and len(binaries) > 1:
        raise click.UsageError("several files need --output DIR")
    for binary in binaries:
        lines = list(list_symbol_file(binary))
        if output is None:
            click.echo("\n".join(lines))
            continue
        identity = lines[0].split(" ")[3]
        path = output / binary.name / identity / f"{binary.name}.sym"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PerimortemError(f"cannot write {path}", why=error.strerror or "") from error
        write_whole(path, "\n".join(lines) + "\n")
        click.echo(path)
    return 0
