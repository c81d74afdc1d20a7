"""A time in which the loop notices nothing is measured, stored, and shown by `doctor`."""

from __future__ import annotations

import time

from rig import Rig

from perimortem.monitor import doctor
from perimortem.monitor.loop_pauses import LoopPauses
from perimortem.monitor.timers import Timers
from perimortem.store.database import Store
from perimortem.store.requests import NotePause
from perimortem.testing.manual_clock import ManualClock

SECOND_NS = 1_000_000_000
MS = 1_000_000


class Loop:
    def __init__(self):
        self.clock = ManualClock(100 * SECOND_NS)
        self.timers = Timers()
        self.noted = []
        self.pauses = LoopPauses(self.clock, self.timers, self.noted.append)

    def pause(self, ms):
        self.pauses.begin()
        self.clock.now_ns += ms * MS
        self.pauses.end()

    def let_pass(self, seconds):
        self.clock.now_ns += seconds * SECOND_NS
        for call in self.timers.take_due(self.clock.now_ns):
            call(self.clock.now_ns)


def test_the_longest_pause_is_noted_a_minute_after_the_first_long_one_and_at_the_end():
    loop = Loop()
    loop.pause(19)
    assert not len(loop.timers), "a healthy loop is not woken for it"
    for ms in (21, 40, 30):
        loop.pause(ms)
    loop.let_pass(60)
    assert [round(pause.pause_ns / MS) for pause in loop.noted] == [40]
    loop.pause(25)
    loop.pauses.finish()
    assert [round(pause.pause_ns / MS) for pause in loop.noted] == [40, 25]
    loop.pauses.finish()
    assert (len(loop.noted), len(loop.timers)) == (2, 0)
    loop.pauses.close()


def test_the_time_without_a_processor_is_no_pause_of_ours():
    loop = Loop()
    waited_ns = iter([0, 30 * MS, 0, 30 * MS])
    loop.pauses._processor.read_ns = lambda: next(waited_ns)
    loop.pause(45)
    loop.pause(60)
    loop.pauses.finish()
    assert loop.noted == [NotePause(30 * MS, 30 * MS)]
    loop.pauses.close()


def test_many_ends_at_once_are_worked_on_in_turns_and_a_crash_comes_first(tmp_path):
    """A process that crashes waits for its answer; ends can wait."""
    rig = Rig(tmp_path)
    targets = [rig.add(4_900_000 + number) for number in range(50)]
    crashed = rig.add(4_800_000)
    conclude = rig.monitor.concluder.conclude

    def conclude_slowly(target):
        rig.clock.now_ns += 10 * MS
        return conclude(target)

    rig.monitor.concluder.conclude = conclude_slowly
    for target in targets:
        rig.end(target)
    rig.monitor.engine.run_once()
    assert len(rig.ends) < 5, "the loop has looked for events since"
    rig.crash(crashed)
    assert rig.dumps(), "its dump is under way"
    assert len(rig.ends) < 5
    rig.run_until(lambda: len(rig.ends) == 50)


def test_doctor_says_how_long_a_loop_did_not_look(tmp_path, monkeypatch):
    monkeypatch.setenv("PERIMORTEM_DATA_DIR", str(tmp_path))
    assert doctor.check_loop().ok, "there is no store yet"
    with Store(tmp_path / "incidents.db") as store:
        assert doctor.check_loop().finding == "no pause of 20 ms or more in 7 days"
        store.note_pause("run", 0.021, 0.0)
        store.note_pause("monitor", 0.03, 0.02)
        check = doctor.check_loop()
        assert check.ok
        assert check.finding == (
            "longest pause in 7 days: 30 ms, by `monitor`, and 20 ms more without a processor"
        )
        store.note_pause("watch", 0.051, 0.0)
        check = doctor.check_loop()
        assert not check.ok
        assert check.finding == "longest pause in 7 days: 51 ms, by `watch`"
        for number in range(1100):
            store.note_pause("run", 0.02 + number / 1e6, 0.0)
        assert doctor.check_loop().ok, "old ones are forgotten"
        assert store.find_longest_pause(time.time() + 10) is None
