"""``perimortem watch PID... | --name PATTERN | --unit NAME``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from perimortem.cli.options import Pid, Setting, collect_flags, watch_options
from perimortem.config.keys import read_beat_source
from perimortem.errors import UsageError

EXAMPLES = """\b
Examples:
  perimortem watch 4711
  perimortem watch --name redis-server        (waits until there is one)
  perimortem watch --name nginx --name 'php-fpm*' --unit postgresql
  perimortem watch --name 'worker-*' --threshold 5
  perimortem watch --unit nginx --follow      (including its workers, and after each restart)
  perimortem watch --beat-from file:/var/log/job.log 4711"""


@click.command("watch", epilog=EXAMPLES)
@watch_options
@click.option(
    "--name",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Watch every process with this name (with * and ?). May be repeated.",
)
@click.option(
    "--unit",
    "units",
    metavar="NAME",
    multiple=True,
    help="Watch every process of a unit (systemd; on Windows a service). May be repeated.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Also watch descendants; with --name or --unit, also processes that start later.",
)
@click.option(
    "--beat-from",
    type=Setting(read_beat_source, "SOURCE"),
    multiple=True,
    help="Additional heartbeat source: progress, window (Windows), file:PATH.",
)
@click.argument("pids", metavar="[PID]...", nargs=-1, type=Pid("did you mean: --name {value}"))
def command(
    pids: tuple[int, ...],
    patterns: tuple[str, ...],
    units: tuple[str, ...],
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Watch running processes until they end or Ctrl-C.

    They are not stopped, traced or changed. Hangs are detected in processes that use libperimortem and,
    on Linux, where all threads wait for each other. On Linux, reading the exit status of a process that
    is not our child needs kernel 6.15 or root.
    """
    from dataclasses import replace

    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.settings import build_settings
    from perimortem.cli.store_place import find_place
    from perimortem.config.resolve import resolve
    from perimortem.monitor.find import Wanted
    from perimortem.monitor.platform import NEEDS_LAUNCH
    from perimortem.monitor.watch import refuse_self, watch_processes

    if bool(pids) == bool(patterns or units):
        raise UsageError(
            "name either PIDs, or names and units by --name and --unit",
            remedy="perimortem watch --help",
        )
    resolved = resolve(collect_flags(options), config)
    wrong = [name for name in resolved["beat-from"] if name in NEEDS_LAUNCH]
    if wrong and options["beat_from"]:
        raise UsageError(f"{wrong[0]} is not available for a process that already runs")
    # `run` has its own follow option; `watch` follows only if asked to.
    settings = replace(build_settings(resolved), follow=options["follow"])
    wanted = Wanted(tuple(dict.fromkeys(pids)), patterns, units)
    wanted.check()
    found = wanted.find()
    if not found:
        if not resolved["quiet"] and not as_json:
            click.echo(f"perimortem: {wanted} is not running; waiting for it", err=True)
        found = wanted.wait()
    refuse_self(found, os.getpid())
    listener = ConsoleListener(
        quiet=resolved["quiet"],
        as_json=as_json,
        shares_terminal=False,
        redact=resolved["redact"],
    )
    watch_processes(found, wanted, settings, listener, find_place(settings, resolved))
    return 0
