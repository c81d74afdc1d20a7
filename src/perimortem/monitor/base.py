"""What every part of a monitor builds on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from perimortem.clock import Clock, SystemClock
from perimortem.monitor.looks import Looks
from perimortem.monitor.targets import Targets
from perimortem.monitor.timers import Timers
from perimortem.monitor.turns import Turns
from perimortem.monitor.workers import WorkerPool
from perimortem.reading import ProcessReader
from perimortem.system import Helper, Selector, open_selector


@dataclass(frozen=True)
class Base:
    """One clock, one selector, one heap of timers, one queue of long work, one pool of workers, one
    table of targets, one reader of processes, one that looks at what they wait for."""

    clock: Clock
    selector: Selector
    timers: Timers
    turns: Turns
    targets: Targets
    pool: WorkerPool
    reader: ProcessReader
    looks: Looks

    def helper_pids(self) -> set[int]:
        """Children of ours that are no one's target."""
        return self.pool.pids() | self.reader.pids() | self.looks.pids()

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Call what is ready or due, and wait in between: for one task, without a watch."""
        while not is_done():
            due_ns = self.timers.next_due_ns()
            wait_ns = 0 if due_ns is None else max(0, due_ns - self.clock.monotonic_ns())
            for call in self.selector.wait(None if due_ns is None else wait_ns / 1e9):
                call(self.clock.monotonic_ns())
            for call in self.timers.take_due(self.clock.monotonic_ns()):
                call(self.clock.monotonic_ns())


def open_base(stack: ExitStack) -> Base:
    """Uses this machine's clocks and selector; ``stack`` closes it and releases all targets."""
    clock = SystemClock()
    selector = open_selector()
    timers = Timers()
    turns = Turns(timers, clock.monotonic_ns)
    pool = WorkerPool(selector, timers, clock.monotonic_ns, Helper)
    targets = Targets(selector, timers, clock)
    reader = ProcessReader(clock)
    looks = Looks(selector, timers, clock.monotonic_ns)

    def close() -> None:
        pool.close()
        reader.close()
        looks.close()
        selector.close()  # before the descriptors it waits for
        for target in targets:
            target.close()

    stack.callback(close)
    return Base(clock, selector, timers, turns, targets, pool, reader, looks)
