"""Assemble a monitor from its parts, in dependency order.

A front end opens the base, builds its process tree and crash server on it, and then requests the
engine, to which nothing is added afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from perimortem.model.incident import Host
from perimortem.model.system_log import SystemLog
from perimortem.monitor.base import Base
from perimortem.monitor.conclude import Concluder
from perimortem.monitor.crash_effects import CrashEffects
from perimortem.monitor.dumps import Dumps
from perimortem.monitor.effects import map_effects
from perimortem.monitor.engine import Engine
from perimortem.monitor.exit_effects import ExitEffects
from perimortem.monitor.family import Family, Reporter
from perimortem.monitor.hang_effects import HangEffects
from perimortem.monitor.hang_policy import HangPolicy
from perimortem.monitor.heartbeat_check import HeartbeatCheck
from perimortem.monitor.incident_store import IncidentStore
from perimortem.monitor.listener import Listener
from perimortem.monitor.loop_pauses import LoopPauses
from perimortem.monitor.recorder_watch import RecorderWatch, TakeRecorder
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.work import Work
from perimortem.recorder import RecorderEvents

_SETTLED_AFTER_NS = 100_000_000
"""A process that ends sooner is not traced, and no spare worker is started: most commands are short.
Arbitrary."""


@dataclass(frozen=True)
class Monitor:
    """A monitor that is ready to run."""

    engine: Engine
    concluder: Concluder
    dumps: Dumps
    pauses: LoopPauses


def build_monitor(
    base: Base,
    settings: Settings,
    host: Host,
    system_log: SystemLog,
    recorder_events: RecorderEvents | None,
    stack: ExitStack,
    *,
    store: IncidentStore,
    listener: Listener,
    reporter: Reporter,
    family: Family,
    take_recorder: TakeRecorder = lambda _process, _now_ns: None,
    answer_crash: Callable[[Target], None] = lambda _target: None,
) -> Monitor:
    """``take_recorder``: for recorders that belong to no target; ``answer_crash``: releases a process
    that waits in its crash handler. ``stack`` closes ``system_log``, ``recorder_events`` and what is
    opened here."""
    stack.callback(system_log.close)
    concluder = Concluder(host, base.clock, system_log, base.reader)
    dumps = Dumps(settings, base.pool, store, base.timers, base.clock)
    check = HeartbeatCheck(base.targets, base.pool, base.clock, base.reader)
    work = Work(base, settings)
    exits = ExitEffects(work, base.targets, concluder, store, reporter, base.clock)
    hangs = HangEffects(
        work,
        base.targets,
        dumps,
        family,
        listener,
        exits.record,
        collect_stacks=settings.collect_stacks,
    )
    policy = HangPolicy(settings.on_hang, work, base.targets, family, base.clock, os.getpid())
    crashes = CrashEffects(
        work, dumps, base.reader, answer_crash, collect_stacks=settings.collect_stacks
    )
    effects = map_effects(work, hangs, policy, crashes, exits, listener)
    recorders = RecorderWatch(recorder_events, settings.run_dir, base, check, take_recorder)
    stack.callback(recorders.close)
    pauses = LoopPauses(base.clock, base.timers, store.note_pause, lambda: base.reader.starved_ns)
    stack.callback(pauses.close)
    _arm_timers(base, dumps, store, system_log, listener)
    return Monitor(Engine(base, check, hangs, effects, pauses), concluder, dumps, pauses)


def _arm_timers(
    base: Base,
    dumps: Dumps,
    store: IncidentStore,
    system_log: SystemLog,
    listener: Listener,
) -> None:
    now_ns = base.clock.monotonic_ns()
    # Delayed, so as not to compete with the target's start.
    base.timers.call_later(now_ns, lambda _now_ns: _begin_reading(base))
    base.timers.call_later(now_ns, lambda _now_ns: store.warm_up())
    settled_ns = now_ns + _SETTLED_AFTER_NS
    base.timers.call_later(settled_ns, lambda _now_ns: dumps.warm_up())
    base.timers.call_later(settled_ns, lambda _now_ns: system_log.begin_trace())
    interval_ns = listener.status_interval_ns
    if interval_ns is not None:
        base.timers.call_every(
            interval_ns, now_ns, lambda now_ns: listener.on_tick(base.targets, now_ns)
        )


def _begin_reading(base: Base) -> None:
    base.reader.warm_up()
    for target in base.targets:
        base.reader.look_at_program(target.pid, target.process.executable)
