"""``perimortem analyze FILE``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perimortem.cli.examining import choose, symbol_options, write_page
from perimortem.cli.options import choose_redact, json_option, redact_option

if TYPE_CHECKING:
    from perimortem.examine.options import ExamineOptions

EXAMPLES = """\b
Examples:
  perimortem analyze server-1795262643-48213.dmp
  perimortem analyze core.4711 --symbols ./build
  perimortem analyze server.dmp --html server.html
  perimortem analyze --json *.dmp | jq -r '.signature.text' | sort | uniq -c"""


@click.command("analyze", epilog=EXAMPLES)
@symbol_options
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write an HTML page instead (one dump only): stacks, locks, modules, memory; no network.",
)
@redact_option
@json_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def command(
    files: tuple[str, ...],
    symbol_dirs: tuple[Path | str, ...],
    debuginfod: bool,
    no_lines: bool,
    no_python: bool,
    page: Path | None,
    no_redact: bool,
    as_json: bool,
) -> int:
    """Explain why a process crashed or hangs: what it did, which memory it touched, and where.

    FILE is a minidump from any writer or an ELF core; a process id also works. Crashes with the same
    cause have the same signature. Given several files, each gets its own report or JSON document.
    """
    if page is not None and len(files) > 1:
        raise click.UsageError("--html takes a single dump")
    from perimortem.cli.confined import BeforeParsing, examine_confined
    from perimortem.cli.output import say
    from perimortem.errors import PerimortemError

    redact = choose_redact(no_redact)

    def analyze(what: str, before_parsing: BeforeParsing) -> int:
        from perimortem.api.examining import open_options

        with open_options(
            symbol_dirs,
            debuginfod=debuginfod,
            lines=not no_lines,
            python=not no_python,
            before_parsing=before_parsing,
        ) as options:
            _analyze(what, options, page, as_json=as_json, is_only=len(files) == 1, redact=redact)
        return 0

    writable = () if page is None or str(page) == "-" else (page.absolute().parent,)
    failed = 0
    for what in files:  # each in its own process: what one does to it costs no other
        try:
            status = examine_confined(
                partial(analyze, what),
                choose(what),
                writable=writable,
                reads_ours=bool(symbol_dirs),
            )
            failed += status != 0
        except PerimortemError as error:
            say(f"perimortem: {what}: {error}")
            failed += 1
    return 1 if failed else 0


def _analyze(
    what: str,
    options: ExamineOptions,
    page: Path | None,
    *,
    as_json: bool,
    is_only: bool,
    redact: bool,
) -> None:
    """Raises PerimortemError."""
    import msgspec

    from perimortem.api.examining import open_examination
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.examination.document import render_examination
    from perimortem.report.examination.inventory import render_inventory
    from perimortem.report.examination.text import render_analysis
    from perimortem.report.redact import redact_document

    chosen = choose(what)
    running = _list_waits(chosen) if isinstance(chosen, int) else []
    with open_examination(chosen, options) as examination:
        document = render_examination(examination)
        inventory = render_inventory(examination.snapshot) if page else None
    if redact:
        document, inventory = redact_document(document), inventory and redact_document(inventory)
    if page is not None:
        write_page(page, None, document, inventory)
    elif as_json:
        echo_document(msgspec.structs.replace(document, file=what))
    else:
        if not is_only:
            click.echo(f"{what}:")
        echo_text(render_analysis(document, name=what, running=running))


def _list_waits(pid: int) -> list[str]:
    """What the threads of a running process wait for; nothing where that is not known."""
    from perimortem.api.waiting import waits
    from perimortem.errors import PerimortemError
    from perimortem.report.waits import list_waits

    try:
        return list_waits(waits(pid))
    except PerimortemError:  # the examination says why, or this system does not show it
        return []
