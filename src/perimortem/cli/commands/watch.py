"""``perimortem watch PID... | --name PATTERN``."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

import click

from perimortem.cli.options import Pid, build_policy, watch_options
from perimortem.errors import UsageError

EXAMPLES = """\b
Examples:
  perimortem watch 4711
  perimortem watch --name redis-server        (waits until there is one)
  perimortem watch --name 'worker-*' --threshold 5"""


@click.command("watch", epilog=EXAMPLES)
@watch_options
@click.option(
    "--name", "pattern", metavar="PATTERN", help="Watch every process of that name (with * and ?)."
)
@click.argument("pids", metavar="[PID]...", nargs=-1, type=Pid())
def command(
    pids: tuple[int, ...],
    pattern: str | None,
    threshold: tuple[tuple[str, float], ...],
    grace: float,
    dump_type: object,
    no_stacks: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Watch processes that run already, until they end or Ctrl-C.

    They are not stopped, traced or changed. Hangs are seen in processes that use libperimortem; of
    any other the end is told. The exit status of a process that is not our child needs Linux 6.15
    or root.
    """
    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.settings import build_settings
    from perimortem.monitor.find import await_processes
    from perimortem.monitor.keeper import Keeper
    from perimortem.monitor.watch import refuse_self, watch_processes
    from perimortem.store.database import Store

    if bool(pids) == bool(pattern):
        raise UsageError("name either PIDs or --name PATTERN", remedy="perimortem watch --help")
    settings = build_settings(
        build_policy(threshold, grace), dump_type, stacks=not no_stacks, agent=False
    )
    wanted = list(dict.fromkeys(pids))
    if pattern:
        if not quiet and not as_json:
            click.echo(f"perimortem: waiting for a process named {pattern}", err=True)
        wanted = await_processes(pattern)
    refuse_self(wanted, os.getpid())
    listener = ConsoleListener(quiet=quiet, as_json=as_json, shares_terminal=False)
    with Store(settings.store_path) as store:
        watch_processes(wanted, settings, listener, Keeper(store))
    return 0
