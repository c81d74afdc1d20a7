"""``perimortem debug [ID|FILE]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from perimortem.cli.confined import BeforeParsing
    from perimortem.debugger.session import Session

EXAMPLES = """\b
Examples:
  perimortem debug                     the newest incident that has a dump
  perimortem debug 17
  perimortem debug server.dmp --symbols ./build --source ./src
  perimortem debug core.4711 --debugger lldb
  perimortem debug 17 -- -batch -ex 'bt full'"""
_DIR = click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True)


_MORE = "arguments of the debugger"
"""In the context: what follows --."""


class _Command(click.Command):
    """Takes what follows -- away, so that ID may be left out before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[_MORE] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- ARGUMENTS...]"]


@click.command("debug", cls=_Command, epilog=EXAMPLES)
@click.option(
    "--debugger",
    metavar="PROGRAM",
    help="gdb, lldb, windbg, cdb, by name or path (default: the first of them that is installed).",
)
@click.option(
    "--symbols",
    type=_DIR,
    multiple=True,
    metavar="DIR",
    help="Search this directory for programs, libraries and debug symbols. May be repeated.",
)
@click.option(
    "--source",
    "sources",
    type=_DIR,
    multiple=True,
    metavar="DIR",
    help="Source code. May be repeated.",
)
@click.option(
    "--sysroot", "root", type=_DIR, metavar="DIR", help="The root of the system that it ran on."
)
@click.option(
    "--print",
    "prints",
    is_flag=True,
    help="Print the debugger's command line instead; the files that it names stay.",
)
@click.argument("what", metavar="[ID|FILE]", required=False)
@click.pass_context
def command(
    ctx: click.Context,
    what: str | None,
    debugger: str | None,
    symbols: tuple[Path, ...],
    sources: tuple[Path, ...],
    root: Path | None,
    prints: bool,
) -> int:
    """Open a debugger on a dump, at the thread and the frame that matter.

    The account is printed first. A minidump is made a core for gdb, which is removed afterwards. What
    follows -- is given to the debugger.
    """
    import tempfile
    from contextlib import ExitStack

    from perimortem.api.debugging import open_session
    from perimortem.cli.confined import examine_confined
    from perimortem.debugger.find import find_debugger

    if debugger is not None:
        find_debugger(debugger, has_core=True)  # an error before any work
    dump = _find_dump(what)
    with ExitStack() as stack:
        prefix = "perimortem-debug-"
        if prints:
            folder = Path(tempfile.mkdtemp(prefix=prefix))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))

        def examine(before_parsing: BeforeParsing) -> int:
            return _examine(dump, folder, symbols, root, before_parsing, prints=prints)

        status = examine_confined(examine, dump, writable=(folder,))
        if status:
            return status
        session = open_session(dump, folder, symbols, sources, root)
        program = find_debugger(debugger, has_core=session.core is not None)
        return _debug(program, session, folder, ctx.meta[_MORE], prints=prints)


def _find_dump(what: str | None) -> Path:
    """Raises PerimortemError."""
    from perimortem.api.incidents import incident, incidents
    from perimortem.errors import PerimortemError

    if what is not None and (Path(what).exists() or not what.isdecimal()):
        if not Path(what).is_file():
            raise PerimortemError(f"there is no file {what}", remedy="perimortem list")
        return Path(what).absolute()
    if what is None:
        found = [report for report in incidents() if any(dump.path for dump in report.dumps)]
        if not found:
            raise PerimortemError("there are no incidents with a dump", remedy="name a dump")
        report = found[-1]
    else:
        report = incident(int(what))
    paths = [dump.path for dump in report.dumps if dump.path]
    if not paths:
        raise PerimortemError(
            f"incident {report.id} has no dump", remedy="perimortem show " + str(what)
        )
    if not Path(paths[-1]).is_file():
        raise PerimortemError(f"the dump of incident {report.id} is gone", why=f"{paths[-1]}")
    return Path(paths[-1])


def _examine(
    dump: Path,
    folder: Path,
    symbols: tuple[Path, ...],
    root: Path | None,
    before_parsing: BeforeParsing,
    *,
    prints: bool,
) -> int:
    from dataclasses import replace

    from perimortem.api.debugging import prepare
    from perimortem.api.examining import open_examination, open_options
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.examination.document import render_examination
    from perimortem.report.examination.text import render_analysis

    with open_options(symbols, lines=True, python=True, before_parsing=before_parsing) as given:
        options = given if root is None else replace(given, root=root)
        with open_examination(dump, options) as found:
            document = render_examination(found)
            prepare(dump, found.snapshot, document, options, folder)
    if not prints:
        echo_text(render_analysis(document, name=str(dump)))
    return 0


def _debug(
    program: str, session: Session, folder: Path, more: tuple[str, ...], *, prints: bool
) -> int:
    import shlex
    import subprocess
    import sys

    from perimortem.cli.interrupt import ignore_interrupts
    from perimortem.debugger.commands import (
        SCRIPT_NAMES,
        build_command,
        build_script,
        find_kind,
    )

    kind = find_kind(program)
    script = None
    if kind in SCRIPT_NAMES:
        script = folder / SCRIPT_NAMES[kind]
        script.write_text(build_script(kind, session))
    arguments = build_command(program, session, script, more)
    if prints:
        click.echo(shlex.join(arguments))
        return 0
    sys.stdout.flush()
    with ignore_interrupts():  # Ctrl-C is the debugger's business
        return subprocess.run(arguments, check=False).returncode
