"""``perimortem run -- COMMAND``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perimortem.cli.options import Setting, check_report_path, collect_flags, watch_options
from perimortem.config.keys import read_beat_source

EXAMPLES = """\b
Examples:
  perimortem run -- ./server --port 8080
  perimortem run --threshold 5 --threshold render=0.5 -- ./game
  perimortem run --report death.json -- torchrun --nproc_per_node=8 train.py
  perimortem run --beat-from output --threshold 60 --on-hang abort -- ./nobody-can-recompile
  perimortem run --beat-from sd-notify -- redis-server --supervised systemd

\b
Heartbeats, and what each cannot see:
  process     stopped or frozen as a whole; nothing of what it does (always there)
  progress    all threads wait for each other; not loops, not waits for network, child or signal
              (always there; asked for by name: nothing at all runs in the whole tree)
  agent       what the program beats itself with libperimortem (always, unless --no-agent)
  sd-notify   WATCHDOG=1 of the program; not threads that the notifying one does not wait for
  output      any byte printed; not silence that is meant
  file:PATH   a file that changes; not whether what is written is progress
  window      (Windows) a window that answers; not threads without one
  On Windows progress is there by name only, sd-notify and output are not.

\b
Exit status: the command's own (on Windows all 32 bits), 128+n when signal n ended it, 124 when
--on-hang ended it, 125 when perimortem failed, 126 when the command cannot be executed, 127 when it was
not found."""


@click.command(
    "run",
    epilog=EXAMPLES,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@watch_options
@click.option(
    "--beat-from",
    type=Setting(read_beat_source, "SOURCE"),
    multiple=True,
    help="A further source of heartbeats: progress, sd-notify, output, window (Windows), file:PATH. "
    "May be repeated.",
)
@click.option("--no-agent", is_flag=True, help="Preload nothing.")
@click.option(
    "--no-crash-handler",
    is_flag=True,
    help="Leave fatal signals alone: crashes are told by exit status and kernel only, without a dump.",
)
@click.option("--no-follow", is_flag=True, help="Watch the command only, not what comes from it.")
@click.option(
    "--wait",
    type=click.Choice(("command", "all")),
    help="Watch until the command has ended (default), or all that came from it.",
)
@click.option(
    "--capture-exit",
    is_flag=True,
    help="Linux: dump the command on its way out, memory intact, even of SIGKILL and _exit. It is "
    "traced all the while: TracerPid says so, and no debugger, nor a dump of a hang, gets in.",
)
@click.option("--pty", is_flag=True, help="Give it a pseudo-terminal for its output.")
@click.option(
    "--propagate-signal",
    is_flag=True,
    help="When a signal ended the command, die by the same one instead of leaving with 128+n.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as JSON (docs/report.schema.json) to this file.",
)
@click.option("--silent", is_flag=True, help="Print nothing: the report and the store have it.")
@click.argument("argv", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    argv: tuple[str, ...],
    report: Path | None,
    config: Path | None,
    silent: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run COMMAND, watch it and all that comes from it, and tell how it ended.

    Its input and output are untouched; the account goes to stderr and, with its dumps, into the
    store (`perimortem list`). A hang is told when a heartbeat stops; nothing is killed unless
    --on-hang says so.
    """
    from perimortem.cli.incident_store import open_incident_store
    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.output import write_report
    from perimortem.cli.settings import build_settings
    from perimortem.config.resolve import resolve
    from perimortem.monitor.platform import end_like
    from perimortem.monitor.run import run_command
    from perimortem.report.document import render_document

    check_report_path(report)
    resolved = resolve(collect_flags(options), config)
    settings = build_settings(resolved)
    quiet = resolved["quiet"]
    listener = ConsoleListener(quiet=quiet, as_json=as_json, shares_terminal=True, is_silent=silent)
    with open_incident_store(settings, resolved) as store:
        result = run_command(argv, settings, listener, store)
    if result.incident.target is None:
        listener.tell(result.incident)
    if report is not None:
        write_report(report, render_document(result.incident))
    if resolved["propagate-signal"]:
        end_like(result.incident.exit)
    return result.exit_status
