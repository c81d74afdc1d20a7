"""The command of `run` as a target."""

from __future__ import annotations

import os

from perimortem.exits.sources import open_exit_watch
from perimortem.hangs.target import TargetWatch
from perimortem.model.fact import FactCode, observed
from perimortem.model.labels import select_labels
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.monitor.base import Base
from perimortem.monitor.platform import Command
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import identify_process
from perimortem.text import printable


def open_command_target(
    process: ProcessRef,
    argv: tuple[str, ...],
    command: Command,
    settings: Settings,
    base: Base,
    tree: ProcessTree,
    has_crash_handler: bool,
) -> Target:
    now_ns = base.clock.monotonic_ns()
    preload = command.preload
    facts = []
    if preload.library is None and not preload.is_for_program:
        facts.append(
            observed(FactCode.WATCHED_WITHOUT_AGENT, command.preload_source, why=preload.reason)
        )
    return Target(
        _name_by_command(identify_process(process), command, argv),
        open_exit_watch(process, is_child=True),
        RecorderLink(settings.run_dir, process),
        TargetWatch(settings.policy, now_ns),
        now_ns,
        sources=command.heartbeats.begin(process, now_ns, tree.pids, base.reader),
        parent_pid=os.getpid(),
        has_crash_handler=has_crash_handler,
        labels=select_labels(os.environ),
        facts=facts,
    )


def _name_by_command(info: ProcessInfo, command: Command, argv: tuple[str, ...]) -> ProcessInfo:
    """Between fork and exec it still has our name; use that of the requested command."""
    return ProcessInfo(
        info.ref,
        printable(command.name),
        printable(str(command.program)),
        tuple(printable(argument) for argument in argv),
        info.started_at_ns,
    )
