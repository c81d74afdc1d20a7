"""``perimortem run -- COMMAND``."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

import click

from perimortem.cli.options import build_policy, check_report_path, watch_options

EXAMPLES = """\b
Examples:
  perimortem run -- ./server --port 8080
  perimortem run --threshold 5 --threshold render=0.5 -- ./game
  perimortem run --report death.json -- python train.py

\b
Exit status: the command's own, 128+n when signal n ended it, 125 when perimortem failed,
126 when the command cannot be executed, 127 when it was not found."""


@click.command(
    "run",
    epilog=EXAMPLES,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@watch_options
@click.option("--no-agent", is_flag=True, help="Preload nothing: watch by the exit only.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as JSON (docs/report.schema.json) to this file.",
)
@click.argument("argv", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    argv: tuple[str, ...],
    threshold: tuple[tuple[str, float], ...],
    grace: float,
    dump_type: object,
    no_stacks: bool,
    quiet: bool,
    as_json: bool,
    no_agent: bool,
    report: Path | None,
) -> int:
    """Run COMMAND, watch it, and tell how it ended.

    Its input and output are untouched; the account goes to stderr and, with its dumps, into the
    store (`perimortem list`). A hang is told when a heartbeat stops; nothing is ever killed.
    """
    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.output import write_report
    from perimortem.cli.settings import build_settings
    from perimortem.monitor.keeper import Keeper
    from perimortem.monitor.run import run_command
    from perimortem.report.document import render_document
    from perimortem.store.database import Store

    check_report_path(report)
    settings = build_settings(
        build_policy(threshold, grace), dump_type, stacks=not no_stacks, agent=not no_agent
    )
    listener = ConsoleListener(quiet=quiet, as_json=as_json, shares_terminal=True)
    with Store(settings.store_path) as store:
        result = run_command(argv, settings, listener, Keeper(store))
    if result.incident.target is None:
        listener.tell(result.incident)
    if report is not None:
        write_report(report, render_document(result.incident))
    return result.exit_status
