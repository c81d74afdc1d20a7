"""A monitor on a manual clock, for days or a year. The machine sleeps, stands still, is set to another
time; programs beat all the while, and now and then one of them really hangs.

    python tests/unit/year.py DAYS [SEED]
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

from rig import SECOND_NS, FakeRecorder, Rig

from perimortem.hangs.policy import WatchPolicy
from perimortem.model.recording import Heartbeat, Pulse
from perimortem.testing.fake_selector import FakeSelector
from perimortem.testing.manual_clock import ManualClock

LIMIT_S = 60
_TARGETS = 4
_BEAT_NS = 5 * SECOND_NS
_BETWEEN_S = 1200
"""From one event to the next, in the mean."""
EVENTS = ("sleep", "standstill", "monitor stands still", "time is set", "hang")


class World:
    """What happens to the machine and to its programs."""

    def __init__(self, seed: int, clock: YearClock) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.counts = dict.fromkeys(EVENTS, 0)
        self.stood_still = (0, 0)
        """From, until: nothing ran."""
        self.hung = (0, 0, -1)
        """From, until, and the number of the target that does not beat."""
        self.hangs: list[tuple[int, int, int]] = []
        self.next_ns = self._choose_next()

    def last_beat_ns(self, number: int) -> int:
        """Of a program that beats every five seconds, if it can."""
        beat_ns = self.clock.now_ns - (self.clock.now_ns - number * SECOND_NS) % _BEAT_NS
        from_ns, until_ns, hung = self.hung
        if hung == number and from_ns < beat_ns <= until_ns:
            beat_ns = from_ns
        still_ns, runs_ns = self.stood_still
        return still_ns if still_ns < beat_ns <= runs_ns else beat_ns

    def pass_by(self, timeout_s: float) -> None:
        """Time passes, and the next event may come before it is over."""
        until_ns = self.clock.now_ns + int(timeout_s * SECOND_NS)
        if until_ns < self.next_ns:
            self.clock.now_ns = until_ns
            return
        self.clock.now_ns = max(self.clock.now_ns, self.next_ns)
        event = self.chance.choice(EVENTS)
        self.counts[event] += 1
        seconds = 10 ** self.chance.uniform(-1, 4)
        begin_ns = self.clock.now_ns
        if event == "sleep":
            self.clock.suspend(seconds * 50)
        elif event == "standstill":
            self.clock.advance(seconds)
            self.stood_still = (begin_ns, self.clock.now_ns)
        elif event == "monitor stands still":
            self.clock.advance(seconds)
        elif event == "time is set":
            self.clock.set_ns += int(self.chance.choice((-1, 1)) * seconds * SECOND_NS)
        else:
            end_ns = begin_ns + int(seconds * SECOND_NS)
            self.hung = (begin_ns, end_ns, self.chance.randrange(_TARGETS))
            self.hangs.append(self.hung)
        self.next_ns = max(self._choose_next(), self.hung[1] + 3 * LIMIT_S * SECOND_NS)

    def _choose_next(self) -> int:
        return self.clock.now_ns + int(self.chance.expovariate(1 / _BETWEEN_S) * SECOND_NS)


class YearClock(ManualClock):
    set_ns = 0

    def realtime_ns(self):
        return self.boottime_ns() + self.set_ns


class YearSelector(FakeSelector):
    def __init__(self, clock, world):
        super().__init__(clock)
        self._world = world

    def wait(self, timeout_s):
        calls = super().wait(0)
        if not calls:
            self._world.pass_by(timeout_s)
        return calls


class BeatingRecorder(FakeRecorder):
    def __init__(self, process, clock, world, number):
        super().__init__(process, clock)
        self._world, self._number = world, number

    def read_pulse(self, now_ns):
        beat_ns = self._world.last_beat_ns(self._number)
        beat = Heartbeat("main", beat_ns, True, LIMIT_S * SECOND_NS, 0, False)
        return Pulse(self._process, (beat,), None, None, None)


class Year:
    """``false``: hangs reported of a program that beat; ``missed``: hangs of which nothing was said."""

    def __init__(self, folder: Path, seed: int) -> None:
        clock = YearClock(100 * SECOND_NS)
        self.world = World(seed, clock)
        self._rig = Rig(
            folder,
            clock=clock,
            selector=YearSelector(clock, self.world),
            policy=WatchPolicy(threshold_ns=LIMIT_S * SECOND_NS),
            dump=None,
            collect_stacks=False,
        )
        self.false: list[str] = []
        self._seen: set[int] = set()
        self._rig.log.on_hang = self._note_hang
        for number in range(_TARGETS):
            target = self._rig.add(4_900_000 + number)
            target.recorder = BeatingRecorder(target.ref, clock, self.world, number)

    def run(self, days: float) -> None:
        until_ns = self.world.clock.now_ns + int(days * 86400 * SECOND_NS)
        while self.world.clock.now_ns < until_ns:
            self._rig.monitor.engine.run_once()

    @property
    def missed(self) -> list[str]:
        long = (h for h in self.world.hangs if h[1] - h[0] > 2.5 * LIMIT_S * SECOND_NS)
        return [
            f"{number}: {(until - begin) / SECOND_NS:.1f} s at {begin / SECOND_NS:.1f} s"
            for begin, until, number in long
            if begin not in self._seen and until < self.world.clock.now_ns
        ]

    def _note_hang(self, target, _incident) -> None:
        begin_ns, until_ns, number = self.world.hung
        now_ns = self.world.clock.now_ns
        silent_until_ns = until_ns + _BEAT_NS  # its next beat at the latest
        is_true = number == target.pid - 4_900_000 and begin_ns < now_ns <= silent_until_ns
        if is_true and now_ns - begin_ns > LIMIT_S * SECOND_NS:
            self._seen.add(begin_ns)
        else:
            self.false.append(f"{target.pid} at {now_ns / SECOND_NS:.1f} s")


def main() -> int:
    days, seed = float(sys.argv[1]), int((sys.argv[2:] or ["1"])[0])
    with tempfile.TemporaryDirectory() as folder:
        year = Year(Path(folder), seed)
        year.run(days)
    for what, found in (("false hang", year.false), ("missed", year.missed)):
        for one in found[:20]:
            print(f"{what}: {one}")
    hangs = len(year.world.hangs)
    print(f"{days:g} days: {year.world.counts}, {hangs} hangs, {len(year.false)} false, "
          f"{len(year.missed)} missed")  # fmt: skip
    return int(bool(year.false or year.missed))


if __name__ == "__main__":
    sys.exit(main())
