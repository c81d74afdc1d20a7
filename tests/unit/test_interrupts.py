"""Ctrl-C, once, twice and three times, on a manual clock."""

from __future__ import annotations

import pytest
from rig import Rig

from perimortem.exits.signals import SIGKILL
from perimortem.monitor.interrupts import Interrupts


class Listener:
    def __init__(self):
        self.lines = []

    def on_interrupt_ignored(self, targets):
        self.lines.append("ignored")

    def on_watch_ending(self, targets):
        self.lines.append("ending")

    def on_kill(self, targets):
        self.lines.append("killed")


@pytest.fixture()
def rig(tmp_path):
    rig = Rig(tmp_path)
    rig.target = rig.add()
    rig.timers.call_every(500_000_000, rig.clock.now_ns, lambda _: rig.beat(rig.target))
    rig.listener = Listener()
    rig.interrupts = Interrupts(
        rig.timers,
        rig.clock,
        lambda: [target for target in rig.targets if target.is_alive],
        rig.listener,
        lambda: rig.listener.lines.append("watch ended"),
    )
    rig.press = lambda: rig.interrupts.note(rig.clock.now_ns)
    yield rig
    rig.stack.close()


def test_one_that_is_answered_is_not_talked_about(rig):
    rig.press()
    rig.run_for(0.3)
    rig.end(rig.target)
    rig.run_for(5)
    assert rig.listener.lines == []


def test_one_that_is_ignored_is_answered_after_a_second(rig):
    rig.press()
    rig.run_for(0.9)
    assert rig.listener.lines == []
    rig.run_for(0.2)
    assert rig.listener.lines == ["ignored"]
    rig.run_for(60)
    assert rig.listener.lines == ["ignored"]


def test_a_second_one_ends_the_watch(rig):
    rig.press()
    rig.run_for(2)
    rig.press()
    assert rig.listener.lines == ["ignored", "ending"]
    rig.run_for(2.1)
    assert rig.listener.lines == ["ignored", "ending", "watch ended"]
    assert rig.target.exit_watch.signals == []


def test_a_second_one_that_comes_late_is_a_first_one(rig):
    """As in a prompt, which answers each and runs on."""
    rig.press()
    rig.run_for(10)
    rig.press()
    rig.run_for(2)
    assert rig.listener.lines == ["ignored", "ignored"]


def test_two_in_quick_succession_are_both_the_programs(rig):
    rig.press()
    rig.run_for(0.2)
    rig.press()
    rig.run_for(1.1)
    assert rig.listener.lines == ["ignored"]


def test_a_third_one_kills(rig):
    rig.press()
    rig.run_for(2)
    rig.press()
    rig.run_for(1)
    rig.press()
    assert rig.listener.lines == ["ignored", "ending", "killed"]
    assert rig.target.exit_watch.signals == [SIGKILL]
    rig.run_for(5)
    assert "watch ended" not in rig.listener.lines
