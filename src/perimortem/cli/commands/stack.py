"""``perimortem stack FILE|PID``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from perimortem.cli.examining import choose, symbol_options
from perimortem.cli.options import choose_redact, json_option, redact_option

EXAMPLES = """\b
Examples:
  perimortem stack 4711
  perimortem stack server-1795262643-48213.dmp
  perimortem stack core.4711 --symbols ./build
  perimortem stack 4711 --twice
  perimortem stack --tree 4711
  perimortem stack --tree 4711 --rank 3
  perimortem stack 4711 --json | jq '.deadlocks'"""


@click.command("stack", epilog=EXAMPLES)
@symbol_options
@click.option("--thread", "tid", type=int, metavar="TID", help="Only this thread.")
@click.option(
    "--twice",
    is_flag=True,
    help="Sample a process twice, 0.1 s apart: threads that did not move are stuck, others are slow.",
)
@click.option(
    "--tree",
    is_flag=True,
    help="Also all that descend from the process: equal stacks once, the unusual ones first.",
)
@click.option("--rank", metavar="N", help="With --tree: only the process with this rank.")
@click.option("--full", is_flag=True, help="Show every frame and every thread; fold nothing.")
@redact_option
@json_option
@click.argument("what", metavar="FILE|PID")
def command(
    what: str,
    *,
    symbol_dirs: tuple[Path | str, ...],
    debuginfod: bool,
    no_lines: bool,
    no_python: bool,
    tid: int | None,
    twice: bool,
    tree: bool,
    rank: str | None,
    full: bool,
    no_redact: bool,
    as_json: bool,
) -> int:
    """Show the stacks of all threads of a dump, core or running process, and which waits for which.

    A process is stopped for a few milliseconds while its stacks are copied (longer for Python, unless
    --no-python) and then runs on. Native and Python frames form one stack. Frames found by heuristics
    are marked; missing symbols and files are listed.
    """
    from perimortem.api.examining import open_examination, open_options
    from perimortem.cli.confined import BeforeParsing, examine_confined
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.errors import PerimortemError
    from perimortem.report.examination.document import render_examination
    from perimortem.report.examination.text import render_stacks
    from perimortem.report.redact import redact_document

    redact = choose_redact(no_redact)
    if tree:
        if twice or tid is not None:
            raise click.UsageError("--tree goes with neither --twice nor --thread")
        places = (p.absolute() if isinstance(p, Path) else p for p in symbol_dirs)
        options = [part for place in places for part in ("--symbols", str(place))]
        flags = {"--debuginfod": debuginfod, "--no-lines": no_lines, "--no-python": no_python}
        options += [name for name, is_set in {**flags, "--no-redact": not redact}.items() if is_set]
        _show_tree(what, rank, options, full=full, redact=redact, as_json=as_json)
        return 0
    if rank is not None:
        raise click.UsageError("--rank belongs to --tree")

    def examine(before_parsing: BeforeParsing) -> int:
        with (
            open_options(
                symbol_dirs,
                debuginfod=debuginfod,
                lines=not no_lines,
                python=not no_python,
                before_parsing=before_parsing,
            ) as options,
            open_examination(choose(what), options, twice=twice) as examination,
        ):
            document = render_examination(examination)
        if redact:
            document = redact_document(document)
        if tid is not None and all(thread.tid != tid for thread in document.threads):
            raise PerimortemError(f"there is no thread {tid}", remedy=f"perimortem stack {what}")
        if as_json:
            echo_document(document)
            return 0
        echo_text(render_stacks(document, tid=tid, full=full))
        missing = [f"  missing {m.module}: {m.text}" for m in document.missing]
        notes = [f"  note    {note}" for note in document.notes]
        echo_text("".join(f"{line}\n" for line in missing + notes), err=True)
        return 0

    return examine_confined(examine, choose(what), reads_ours=bool(symbol_dirs))


def _show_tree(
    what: str, rank: str | None, options: list[str], *, full: bool, redact: bool, as_json: bool
) -> None:
    from perimortem.api.tree_stacks import tree_stacks
    from perimortem.cli.output import echo_document
    from perimortem.cli.progress_line import ProgressLine
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.redact import redact_document
    from perimortem.report.tree_stacks import render_tree_stacks

    pid = choose(what)
    if isinstance(pid, Path):
        raise click.BadParameter(f"{what} is no process id", param_hint="--tree")
    with ProgressLine(sys.stderr) as line:
        document = tree_stacks(pid, rank=rank, options=options, on_progress=line.show_count)
    if redact:
        document = redact_document(document)
    if as_json:
        echo_document(document)
    else:
        echo_text(render_tree_stacks(document, full=full))
