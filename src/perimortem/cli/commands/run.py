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
  perimortem run --beat-from output --threshold 60 --on-hang abort -- ./legacy-server
  perimortem run --beat-from sd-notify -- redis-server --supervised systemd

\b
Heartbeats, and what each cannot detect:
  process     detects only a process that is stopped or frozen as a whole (always on)
  progress    all threads waiting for each other; not loops, not waits for network, child or signal
              (always on; if requested by name: nothing runs in the whole tree)
  agent       beats that the program sends with libperimortem (always on, unless --no-agent)
  sd-notify   the program's WATCHDOG=1; not threads that the notifying thread does not wait for
  output      any byte printed; cannot tell intended silence from a hang
  file:PATH   a file that changes; not whether the changes are progress
  window      (Windows) a responsive window; not threads without one
  On Windows, progress is available by name only; sd-notify and output are not available.

\b
Exit status: the command's own (on Windows all 32 bits); 128+n if signal n ended it; 124 if
--on-hang ended it; 125 if perimortem failed; 126 if the command cannot be executed; 127 if it was
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
    help="Additional heartbeat source: progress, sd-notify, output, window (Windows), file:PATH. "
    "May be repeated.",
)
@click.option("--no-agent", is_flag=True, help="Preload nothing.")
@click.option(
    "--no-crash-handler",
    is_flag=True,
    help="Do not handle fatal signals: crashes are reported by exit status and kernel only, no dump.",
)
@click.option("--no-follow", is_flag=True, help="Watch the command only, not its descendants.")
@click.option(
    "--wait",
    type=click.Choice(("command", "all")),
    help="Watch until the command has exited (default), or until all its descendants have.",
)
@click.option(
    "--capture-exit",
    is_flag=True,
    help="Linux: dump the command as it exits, memory intact, even on SIGKILL and _exit. It is "
    "traced the whole time: TracerPid shows it, and neither debuggers nor hang dumps can attach.",
)
@click.option(
    "--keep-output",
    is_flag=True,
    help="Linux: keep the last 4 KiB of the command's standard error with its report; a pipe or a "
    "pseudo-terminal takes its place. If it is a file, or with --pty, that is done anyway.",
)
@click.option("--pty", is_flag=True, help="Give the command a pseudo-terminal for its output.")
@click.option(
    "--propagate-signal",
    is_flag=True,
    help="If a signal ended the command, die by the same signal instead of exiting with 128+n.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as JSON (docs/report.schema.json) to this file.",
)
@click.option(
    "--must-watch",
    is_flag=True,
    help="Do not start COMMAND if its report could not be stored or its crashes not be dumped.",
)
@click.option(
    "--silent", is_flag=True, help="Print nothing; the report and the store are still written."
)
@click.argument("argv", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    argv: tuple[str, ...],
    report: Path | None,
    config: Path | None,
    must_watch: bool,
    silent: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Run COMMAND, watch it and all its descendants, and report how it ended.

    Its input and output are untouched; the report goes to stderr and, with any dumps, into the store
    (`perimortem list`). A hang is reported when a heartbeat stops; nothing is killed unless --on-hang
    says so.
    """
    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.output import say, write_report
    from perimortem.cli.settings import build_settings
    from perimortem.cli.store_place import check_can_watch, find_place
    from perimortem.config.resolve import resolve
    from perimortem.errors import CannotWatch
    from perimortem.monitor.platform import Unwatched, end_like
    from perimortem.monitor.run import run_command
    from perimortem.report.document import render_document

    check_report_path(report)
    resolved = resolve(collect_flags(options), config)
    settings = build_settings(resolved)
    if must_watch:
        check_can_watch(settings)
    quiet = resolved["quiet"]
    redact = resolved["redact"]
    listener = ConsoleListener(
        quiet=quiet, as_json=as_json, shares_terminal=True, is_silent=silent, redact=redact
    )
    unwatched = Unwatched()
    try:
        result = run_command(argv, settings, listener, find_place(settings, resolved))
    except CannotWatch as error:
        if must_watch:
            raise
        say(f"perimortem: {argv[0]} runs unwatched: {error}")
        return unwatched.run(argv)
    if result.incident.target is None:
        listener.show_end(result.incident)
    if report is not None:
        write_report(report, render_document(result.incident, redact=redact))
    if resolved["propagate-signal"]:
        end_like(result.incident.exit)
    return result.exit_status
