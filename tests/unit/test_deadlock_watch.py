"""When a look begins, and what follows from it."""

from __future__ import annotations

import pytest

from perimortem.beats.progress import Progress
from perimortem.hangs.policy import WatchPolicy
from perimortem.model.fact import FactCode
from perimortem.model.stuck import Grade, LookAnswer, StuckTasks, StuckThreads
from perimortem.monitor.deadlock_watch import DeadlockWatch
from perimortem.testing.manual_clock import ManualClock

SECOND_NS = 1_000_000_000


def proven(text, tids, pids):
    return StuckThreads(Grade.PROVEN, text, tids, pids)


class Looks:
    """Remembers what it was asked; answers when the test does."""

    def __init__(self):
        self.asked = []
        self.done = None

    @property
    def is_busy(self):
        return self.done is not None

    def begin(self, pids, done):
        self.asked.append(pids)
        self.done = done

    def answer(self, *found, tasks=()):
        done, self.done = self.done, None
        done(LookAnswer(found, tasks, 0))

    def fail(self):
        done, self.done = self.done, None
        done(None)


class Life:
    is_idle = True


class Target:
    is_alive = True

    def __init__(self, pid, slices, now_ns):
        self.pid = pid
        self.life = Life()
        self.slices = slices
        self.progress = Progress(pid, now_ns)
        self.sources = (self.progress,)
        self.facts = []

    def note(self, fact):
        self.facts.append(fact)


class Watched(list):
    def __init__(self):
        self.sampled = []

    def sample_at(self, target, _now_ns):
        self.sampled.append(target.pid)


class Timers:
    def call_every(self, interval_ns, _now_ns, call):
        self.interval_ns, self.call = interval_ns, call


class Rig:
    def __init__(self, monkeypatch):
        self.clock = ManualClock(100 * SECOND_NS)
        self.looks, self.timers, self.targets = Looks(), Timers(), Watched()
        self.counts = {}
        self.run_ns_each = SECOND_NS
        """How long a thread runs whenever it does."""
        self.retries = {}
        """The waits of threads that wake again and again: what the kernel shows."""
        self.mentioned = []

        def activity(pid, _known):
            slices = dict(self.counts[pid])
            run_ns = {tid: count * self.run_ns_each for tid, count in slices.items()}
            return type("Activity", (), {"slices": slices, "run_ns": run_ns})()

        def retry(_pid, tid):
            return self.retries.get(tid, b"")

        monkeypatch.setattr("perimortem.beats.thread_history.read_retry", retry)
        monkeypatch.setattr("perimortem.beats.progress.read_activity", activity)
        monkeypatch.setattr("perimortem.beats.progress.describe_stuck", lambda _pid: None)
        DeadlockWatch(self, WatchPolicy(10 * SECOND_NS), self.mention).begin()

    def mention(self, target, fact):
        self.mentioned.append((target.pid, fact.values["text"], fact.values["for_s"]))

    def add(self, pid, slices):
        self.counts[pid] = slices
        target = Target(pid, slices, self.clock.now_ns)
        self.targets.append(target)
        return target

    def run_for(self, seconds, *, runs=()):
        """``runs``: the threads (tids) that run all the time."""
        until_ns = self.clock.now_ns + int(seconds * SECOND_NS)
        while self.clock.now_ns < until_ns:
            self.clock.now_ns += self.timers.interval_ns
            for slices in self.counts.values():
                for tid in slices:
                    slices[tid] += tid in runs
            for target in self.targets:
                target.progress.observe(self.clock.now_ns)
            self.timers.call(self.clock.now_ns)


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


def test_one_thread_that_stands_still_is_enough(rig):
    rig.add(7, {7: 0, 8: 0})
    rig.run_for(7, runs={7})
    assert not rig.looks.asked
    rig.run_for(5, runs={7})
    assert rig.looks.asked == [[7]]


def test_what_rests_is_looked_at_again_more_and_more_seldom(rig):
    rig.add(7, {7: 0})
    for _ in range(1000):
        rig.run_for(2.5)
        if rig.looks.is_busy:
            rig.looks.answer()
    assert 4 < len(rig.looks.asked) < 15


def test_a_thread_that_stops_later_is_looked_at_at_once(rig):
    rig.add(7, {7: 0, 8: 0})
    rig.run_for(15, runs={8})
    rig.looks.answer()
    rig.run_for(15)
    assert len(rig.looks.asked) == 2


def test_one_look_is_enough_for_all_that_waited_when_it_began(rig):
    rig.add(7, {7: 0})
    rig.run_for(5)
    rig.add(8, {8: 0})
    rig.run_for(7.5)
    rig.looks.answer()
    rig.run_for(20)
    assert len(rig.looks.asked) == 1


def test_what_a_look_found_too_early_is_looked_at_again_in_time(rig):
    rig.add(7, {7: 0, 8: 0, 9: 0})
    rig.run_for(5, runs={8, 9})
    rig.run_for(5, runs={9})
    found = proven("deadlock of 2 threads", frozenset({8, 10}), (7,))
    rig.looks.answer(found)
    rig.run_for(2.5, runs={9})
    assert len(rig.looks.asked) == 1
    rig.run_for(2.5, runs={9})
    assert len(rig.looks.asked) == 2
    rig.looks.answer(found)
    assert rig.targets[0].progress.deadlock is not None


def test_a_deadlock_is_a_silence_since_its_last_thread_ran_until_one_moves(rig):
    target = rig.add(7, {7: 0, 8: 0, 9: 0})
    rig.run_for(5, runs={7, 8, 9})
    stopped_ns = rig.clock.now_ns
    rig.run_for(12, runs={7})
    rig.looks.answer(proven("deadlock of 2 threads", frozenset({8, 9}), (7,)))
    assert rig.targets.sampled == [7]
    rig.run_for(5, runs={7})
    (beat,) = target.progress.heartbeats()
    assert beat.beat_ns == stopped_ns
    assert target.progress.facts() == ("deadlock of 2 threads",)
    rig.run_for(3, runs={7, 8, 9})
    assert target.progress.deadlock is None
    assert target.progress.heartbeats()[0].beat_ns > stopped_ns
    assert rig.targets.sampled == [7, 7]


def test_that_we_held_a_thread_does_not_end_its_deadlock(rig):
    target = rig.add(7, {7: 0, 8: 0})
    rig.run_for(12)
    rig.looks.answer(proven("deadlock of 2 threads", frozenset({7, 8}), (7,)))
    target.progress.disregard(rig.clock.now_ns + SECOND_NS * 3)
    rig.run_for(2.5, runs={7, 8})
    rig.run_for(5)
    assert target.progress.deadlock is not None


def test_it_is_said_of_the_process_to_examine(rig):
    parent, child = rig.add(7, {7: 0}), rig.add(8, {8: 0})
    rig.run_for(12)
    rig.looks.answer(proven("deadlock", frozenset({7, 8}), (8, 7)))
    assert child.progress.deadlock is not None
    assert parent.progress.deadlock is None


def test_a_circle_by_what_stacks_show_is_mentioned_at_once_and_once(rig):
    target = rig.add(7, {7: 0, 8: 0, 9: 0})
    rig.run_for(12, runs={7})
    circle = StuckThreads(Grade.ASSUMED, "deadlock of 2 threads", frozenset({8, 9}), (7,))
    rig.looks.answer(circle)
    rig.run_for(70, runs={7})
    rig.looks.answer(circle)
    assert rig.mentioned == [(7, "deadlock of 2 threads", 0)]
    assert [fact.code for fact in target.facts] == [FactCode.QUIET]
    assert target.progress.deadlock is None


def test_who_waits_for_a_lock_is_mentioned_if_that_lasts(rig):
    rig.add(7, {7: 0, 8: 0})
    waits = StuckThreads(Grade.LOCK, "thread 8 waits for a lock", frozenset({8}), (7,))
    rig.run_for(12, runs={7})
    rig.looks.answer(waits)
    assert not rig.mentioned
    rig.run_for(60, runs={7})
    rig.looks.answer(waits)
    assert rig.mentioned == [(7, "thread 8 waits for a lock", 60)]


def test_a_rest_is_mentioned_if_nothing_else_runs(rig):
    rests = StuckThreads(Grade.RESTS, "thread 7 waits", frozenset({7}), (7,))
    rig.add(7, {7: 0})
    rig.add(8, {8: 0})
    rig.run_for(75, runs={8})
    rig.looks.answer(rests)
    assert not rig.mentioned
    rig.run_for(130)
    rig.looks.answer(rests)
    assert rig.mentioned == [(7, "thread 7 waits", 60)]


def test_a_look_without_an_answer_is_in_the_account_of_who_stood_still(rig):
    still, busy = rig.add(7, {7: 0}), rig.add(8, {8: 0})
    rig.run_for(12, runs={8})
    rig.looks.fail()
    rig.run_for(60, runs={8})
    rig.looks.fail()
    assert [fact.code for fact in still.facts] == [FactCode.LOOK_FAILED]
    assert not busy.facts


def test_who_wakes_and_waits_again_for_the_same_is_looked_at(rig):
    rig.add(7, {7: 0, 8: 0})
    rig.run_ns_each = SECOND_NS // 1000
    rig.retries = {7: b"202 0x10 0x89 0x0 0x1"}
    rig.run_for(10, runs={7, 8})
    assert not rig.looks.asked  # at first it has to be seen to wait
    rig.run_for(3, runs={7, 8})
    assert rig.looks.asked == [[7]]


def test_who_runs_much_in_between_only_works_in_small_steps(rig):
    rig.add(7, {7: 0})
    rig.retries = {7: b"202 0x10 0x89 0x0 0x1"}
    rig.run_for(60, runs={7})
    assert not rig.looks.asked


def test_a_deadlock_lasts_although_its_threads_wake_and_wait_again(rig):
    target = rig.add(7, {7: 0, 8: 0})
    rig.run_ns_each = SECOND_NS // 1000
    rig.retries = {7: b"202 0x10 0x89 0x0 0x1", 8: b"202 0x20 0x89 0x0 0x1"}
    rig.run_for(15, runs={7, 8})
    rig.looks.answer(proven("deadlock of 2 threads", frozenset({7, 8}), (7,)))
    (beat,) = target.progress.heartbeats()
    rig.retries[7] = None  # it runs at the moment of one reading
    rig.run_for(2.5, runs={7, 8})
    rig.retries[7] = b"202 0x10 0x89 0x0 0x1"
    rig.run_for(40, runs={7, 8})
    rig.looks.answer(proven("deadlock of 2 threads", frozenset({7, 8}), (7,)))
    assert target.progress.deadlock is not None
    assert target.progress.heartbeats() == (beat,)
    rig.retries = {}
    rig.run_for(2.5, runs={7, 8})
    assert target.progress.deadlock is None


def test_who_has_run_since_the_last_look_is_looked_at_again_soon(rig):
    rig.add(7, {7: 0, 8: 0})
    for _ in range(60):
        rig.run_for(2.5, runs={8})
        if rig.looks.is_busy:
            rig.looks.answer()
    count = len(rig.looks.asked)
    rig.run_for(2.5, runs={7, 8})
    rig.run_for(30, runs={8})
    assert len(rig.looks.asked) == count + 1


def test_a_lock_without_a_known_holder_is_mentioned_only_while_others_run(rig):
    rig.add(7, {7: 0, 8: 0})
    unowned = StuckThreads(Grade.UNOWNED, "a Rust mutex", frozenset({7}), (7,))
    rig.run_for(75)
    rig.looks.answer(unowned)
    assert not rig.mentioned, "a pool at rest: its threads wait their turn"
    rig.run_for(75, runs={8})
    rig.looks.answer(unowned)
    assert [text for _, text, _ in rig.mentioned] == ["a Rust mutex"]


def test_a_deadlock_that_a_look_does_not_find_any_more_is_over(rig):
    """One of its threads has run, although the others still rest."""
    target = rig.add(7, {7: 0, 8: 0, 9: 0})
    rig.run_for(12)
    rig.looks.answer(proven("deadlock of 3 threads", frozenset({7, 8, 9}), (7,)))
    rig.run_for(5)
    count = len(rig.looks.asked)
    rig.run_for(2.5, runs={7})
    assert len(rig.looks.asked) == count + 1, "whether it waits again is looked at at once"
    assert target.progress.deadlock is not None
    rig.looks.answer()
    assert target.progress.deadlock is None


def test_who_wakes_again_and_again_may_run_at_the_moment_of_a_look(rig):
    rig.add(7, {7: 0})
    rig.run_ns_each = SECOND_NS // 1000
    rig.retries = {7: b"202 0x10 0x89 0x0 0x1"}
    for _ in range(12):
        rig.run_for(2.5, runs={7})
        if rig.looks.is_busy:
            rig.looks.answer()
    assert len(rig.looks.asked) == 4


def test_that_a_look_misses_a_thread_that_was_just_awake_ends_no_deadlock(rig):
    target = rig.add(7, {7: 0, 8: 0})
    rig.run_ns_each = SECOND_NS // 1000
    rig.retries = {7: b"202 0x10 0x89 0x0 0x1"}
    rig.run_for(15, runs={7})
    rig.looks.answer(proven("deadlock of 2 threads", frozenset({7, 8}), (7,)))
    for _ in range(60):
        rig.run_for(2.5, runs={7})
        if rig.looks.is_busy:
            rig.looks.answer()
    assert target.progress.deadlock is not None


def waiting_tasks(*keys):
    tasks = tuple((f"goroutine {key[0]}", key) for key in keys)
    return StuckTasks(7, "main.work", "sync.Mutex.Lock", tasks)


def look_for(rig, seconds, list_keys):
    """Each look finds the tasks whose keys ``list_keys(number)`` says."""
    for number in range(int(seconds / 2.5)):
        rig.run_for(2.5, runs={7})
        if rig.looks.is_busy:
            rig.looks.answer(tasks=(waiting_tasks(*list_keys(number)),))


def test_a_goroutine_that_waits_for_a_lock_is_mentioned_once_if_that_lasts(rig):
    """Without one that has come later."""
    rig.add(7, {7: 0, 8: 0})
    look_for(rig, 60, lambda number: [(1, 5)] if number < 16 else [(1, 5), (2, 5)])
    assert not rig.mentioned
    look_for(rig, 300, lambda _number: [(1, 5), (2, 5)])
    text = "goroutine 1 waits in main.work for sync.Mutex.Lock"
    assert rig.mentioned == [(7, text, 60)]


def test_a_goroutine_that_has_run_in_between_only_found_its_lock_taken_again(rig):
    rig.add(7, {7: 0, 8: 0})
    look_for(rig, 1000, lambda number: [(1, number)])
    assert not rig.mentioned
    assert len(rig.looks.asked) < 25


def test_one_of_many_that_seems_not_to_have_run_by_chance_is_not_mentioned(rig):
    """Each look finds some of the last one again, as a counter of a byte comes round."""
    rig.add(7, {7: 0, 8: 0})
    look_for(rig, 1000, lambda number: [(1, number // 3), (2, number)])
    assert not rig.mentioned
