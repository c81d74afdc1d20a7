"""Nothing keeps the loop from what happens meanwhile: long work and many ready calls come in turns."""

from __future__ import annotations

import os
import sys

import pytest

from perimortem.monitor.timers import Timers
from perimortem.monitor.turns import TURN_NS, Turns
from perimortem.system import open_selector
from perimortem.system.selector import CALLS_MAX
from perimortem.testing.manual_clock import ManualClock


class Loop:
    def __init__(self):
        self.clock = ManualClock(100_000_000_000)
        self.timers = Timers()
        self.turns = Turns(self.timers, self.clock.monotonic_ns)
        self.done = []

    def work(self, name, count, is_idle=lambda: False):
        for number in range(count):
            while is_idle():
                yield False
            self.clock.now_ns += TURN_NS // 4 + 1
            self.done.append(f"{name}{number}")
            yield True

    def turn(self):
        """What was done in it."""
        self.done.clear()
        self.clock.now_ns += 1
        for call in self.timers.take_due(self.clock.now_ns):
            call(self.clock.now_ns)
        return self.done[:]


def test_several_works_take_their_steps_by_turns():
    loop = Loop()
    loop.turns.take("a", loop.work("a", 5))
    loop.turns.take("b", loop.work("b", 2))
    assert loop.turn() == ["a0", "b0", "a1", "b1"]
    assert loop.turns.has_work
    assert loop.turn() == ["a2", "a3", "a4"]
    assert not loop.turns.has_work
    assert loop.turn() == []
    assert not len(loop.timers)


def test_work_that_is_not_finished_is_not_begun_again():
    loop = Loop()
    for _ in range(3):
        loop.turns.take("a", loop.work("a", 1))
    assert loop.turn() == ["a0"]
    loop.turns.take("a", loop.work("a", 1))
    assert loop.turn() == ["a0"]


def test_work_that_cannot_go_on_keeps_no_turn_from_ending():
    loop = Loop()
    waits = [True]
    loop.turns.take("a", loop.work("a", 1, lambda: waits[0]))
    loop.turns.take("b", loop.work("b", 1))
    assert loop.turn() == ["b0"]
    assert loop.turn() == []
    waits[0] = False
    assert loop.turn() == ["a0"]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are no waitables there")
def test_all_that_is_ready_has_its_turn_and_some_comes_each_time():
    selector = open_selector()
    pipes = [os.pipe() for _ in range(3 * CALLS_MAX)]
    called = []
    for number, (reading, writing) in enumerate(pipes):
        os.write(writing, b"x")
        selector.register(reading, lambda _, n=number: called.append(n), comes_first=number == 7)
    for _ in range(4):
        calls = selector.wait(0)
        assert len(calls) <= CALLS_MAX + 1
        for call in calls:
            call(0)
    assert set(called) == set(range(3 * CALLS_MAX))
    assert called.count(7) == 4
    selector.unregister(pipes[7][0])
    for call in selector.wait(0):
        call(0)
    assert called.count(7) == 4
    selector.close()
    for fd in (fd for pair in pipes for fd in pair):
        os.close(fd)
