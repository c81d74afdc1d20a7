"""The state machine, by a manual clock: no test here waits for anything."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from perimortem.hangs.policy import SECOND_NS, WatchPolicy
from perimortem.hangs.states import LETTERS, TRANSITIONS, State
from perimortem.hangs.target import NEVER_NS, HangDetected, HangRecovered, TargetWatch
from perimortem.hangs.wakeup_delay import WakeupDelayDetector
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Heartbeat, Pulse
from perimortem.testing.manual_clock import ManualClock

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESS = ProcessRef(4711, 99)


def beat(name="main", at=0, threshold=1 * SECOND_NS, **kwargs):
    found = Heartbeat(
        name=name,
        beat_ns=at,
        beaten=True,
        threshold_ns=threshold,
        hold_until_ns=0,
        paused=False,
    )
    return found._replace(**kwargs)


def pulse(*beats, goodbye=None):
    return Pulse(PROCESS, tuple(beats), goodbye, None, None)


def watch(now=0, **policy):
    return TargetWatch(WatchPolicy(**policy), now)


def sample_until_hung(target, seen, now):
    """Samples whenever it is due; returns the time and the change."""
    while True:
        now = max(now, target.due_ns)
        change = target.sample(seen, now, lambda: True)
        if change or now > 1000 * SECOND_NS:
            return now, change


def test_a_beating_target_is_alive_and_sampled_no_sooner_than_it_can_be_late():
    target = watch()
    target.sample(pulse(beat(at=5)), 10, lambda: True)
    assert target.state is State.ALIVE
    assert target.due_ns == 5 + SECOND_NS


def test_a_stopped_heartbeat_is_reported_after_two_samples_within_50_ms_of_its_threshold():
    target = watch()
    target.sample(pulse(beat(at=0), beat("process", at=0, threshold=None)), 10, lambda: True)
    late_pulse = pulse(beat(at=0), beat("process", at=2 * SECOND_NS, threshold=None))
    now, change = sample_until_hung(target, late_pulse, 10)
    assert isinstance(change, HangDetected)
    assert [s.name for s in change.hang.stopped] == ["main"]
    assert change.hang.still_beating == ("process",)
    assert SECOND_NS < now <= SECOND_NS + 50_000_000
    assert target.trail == ["a", "c", "e"]


def test_a_beat_between_the_two_samples_saves_it():
    target = watch()
    target.sample(pulse(beat(at=0)), 10, lambda: True)
    assert target.sample(pulse(beat(at=0)), SECOND_NS, lambda: True) is None
    assert target.state is State.LATE
    assert target.sample(pulse(beat(at=SECOND_NS + 5)), target.due_ns, lambda: True) is None
    assert target.state is State.ALIVE
    assert target.due_ns == 2 * SECOND_NS + 5


def test_a_hang_recovers_once_every_stopped_heartbeat_beats_again():
    target = watch()
    target.sample(pulse(beat("a"), beat("b")), 10, lambda: True)
    now, _ = sample_until_hung(target, pulse(beat("a"), beat("b")), 10)
    now += SECOND_NS
    assert target.sample(pulse(beat("a", at=now), beat("b")), now, lambda: True) is None
    change = target.sample(pulse(beat("a", at=now), beat("b", at=now)), now + 5, lambda: True)
    assert isinstance(change, HangRecovered)
    assert change.hang.recovered_ns == now + 5
    target.sample(pulse(beat("a", at=now), beat("b", at=now)), target.due_ns, lambda: True)
    assert target.state is State.ALIVE
    assert target.trail[-2:] == ["f", "g"]


def test_a_heartbeat_that_stops_during_a_hang_joins_it():
    target = watch()
    seen = pulse(beat("main"), beat("python", threshold=3 * SECOND_NS))
    target.sample(seen, 10, lambda: True)
    sample_until_hung(target, seen, 10)
    target.sample(seen, 4 * SECOND_NS, lambda: True)
    assert [s.name for s in target.hang.stopped] == ["main", "python"]
    assert target.hang.still_beating == ()


def test_the_first_beat_may_take_the_grace():
    registered = beat(at=0, beaten=False)
    target = watch(grace_ns=60 * SECOND_NS)
    now, change = sample_until_hung(target, pulse(registered), 10)
    assert isinstance(change, HangDetected)
    assert now >= 60 * SECOND_NS
    assert target.trail == ["b", "e"]


def test_after_its_first_beat_a_heartbeat_is_watched_at_once():
    target = watch()
    target.sample(pulse(beat(at=0, beaten=False)), 10, lambda: True)
    assert target.due_ns <= SECOND_NS + 10


def test_pause_extend_and_goodbye_hold_the_judgement():
    target = watch()
    assert target.deadline_ns(beat(paused=True), None) == NEVER_NS
    assert target.deadline_ns(beat(hold_until_ns=9 * SECOND_NS), None) == 9 * SECOND_NS
    assert target.deadline_ns(beat(), 5 * SECOND_NS) == 6 * SECOND_NS


def test_the_users_threshold_goes_before_the_programs():
    target = watch(threshold_of_ns={"main": 7 * SECOND_NS})
    assert target.threshold_ns(beat()) == 7 * SECOND_NS
    assert watch(threshold_ns=3 * SECOND_NS).threshold_ns(beat(threshold=None)) == 3 * SECOND_NS


def test_a_short_general_threshold_does_not_make_the_agents_rhythm_a_hang():
    target = watch(threshold_ns=SECOND_NS // 2)
    assert target.threshold_ns(beat("process", threshold=None)) == 3 * SECOND_NS
    assert target.threshold_ns(beat("main", threshold=None)) == SECOND_NS // 2
    named = watch(threshold_of_ns={"process": 2 * SECOND_NS})
    assert named.threshold_ns(beat("process", threshold=None)) == 2 * SECOND_NS
    hasty = watch(threshold_of_ns={"process": SECOND_NS // 10})
    assert hasty.threshold_ns(beat("process", threshold=None)) > SECOND_NS


def test_a_lost_heartbeat_is_not_a_hang():
    target = watch()
    target.sample(pulse(beat()), 10, lambda: True)
    target.sample(pulse(beat()), SECOND_NS, lambda: True)
    assert target.sample(pulse(beat()), target.due_ns, lambda: False) is None
    assert target.state is State.ALIVE
    assert target.due_ns == NEVER_NS


def test_after_a_rebase_no_process_is_blamed():
    target = watch()
    target.sample(pulse(beat(at=0)), 10, lambda: True)
    now = 100 * SECOND_NS  # the monitor was stopped all that time
    target.rebase(now)
    assert target.sample(pulse(beat(at=0)), target.due_ns, lambda: True) is None
    assert target.state is State.ALIVE
    assert target.due_ns == now + SECOND_NS


def test_nothing_is_judged_after_the_end():
    target = watch()
    target.sample(pulse(beat()), 10, lambda: True)
    target.end()
    assert target.sample(pulse(beat()), 99 * SECOND_NS, lambda: True) is None
    assert target.due_ns == NEVER_NS


steps = st.lists(
    st.tuples(
        st.sampled_from(["look", "beat", "rebase", "pause", "resume", "end"]),
        st.integers(0, 3 * SECOND_NS),
    ),
    max_size=60,
)


@given(steps)
def test_any_history_stays_within_the_diagram(history):
    """No sequence of events takes a transition that is not drawn, or blames a beat in time."""
    target, now, current = watch(), 10, beat(at=0)
    for action, wait in history:
        now += wait
        if action == "beat":
            current = current._replace(beat_ns=now, beaten=True)
        elif action == "pause":
            current = current._replace(paused=True)
        elif action == "resume":
            current = current._replace(paused=False, beat_ns=now)
        elif action == "rebase":
            target.rebase(now)
        elif action == "end":
            target.end()
        else:
            change = target.sample(pulse(current), now, lambda: True)
            if isinstance(change, HangDetected):
                assert now - current.beat_ns >= SECOND_NS
                assert not current.paused
    assert all(letter in TRANSITIONS for letter in target.trail)


def test_every_transition_is_in_the_documentation():
    text = (ROOT / "docs" / "states.md").read_text()
    for letter, (before, after) in TRANSITIONS.items():
        assert f"| {letter} | {before} | {after} |" in text
    assert len(LETTERS) == len(TRANSITIONS)


def test_a_reported_hang_is_not_over_because_the_monitor_was_absent():
    """Stopped for a while, the monitor restarts deadlines; the heartbeat has not beaten for that."""
    target = TargetWatch(WatchPolicy(threshold_ns=SECOND_NS), 0)
    target.sample(pulse(beat(at=5)), 10, lambda: True)
    target.sample(pulse(beat(at=5)), 5 + SECOND_NS, lambda: True)
    change = target.sample(pulse(beat(at=5)), target.due_ns, lambda: True)
    assert isinstance(change, HangDetected)
    for now_s in (4, 8, 12):
        target.rebase(now_s * SECOND_NS)
        assert target.sample(pulse(beat(at=5)), now_s * SECOND_NS, lambda: True) is None
        assert target.state is State.HUNG
    target.rebase(16 * SECOND_NS)
    change = target.sample(pulse(beat(at=16 * SECOND_NS)), 16 * SECOND_NS, lambda: True)
    assert isinstance(change, HangRecovered)


def test_a_late_wake_up_and_a_suspend_are_distinguished():
    clock = ManualClock()
    tick = WakeupDelayDetector(clock)
    now = clock.monotonic_ns()
    assert tick.judge(now, now + 100_000_000) is None
    late = tick.judge(now, now + 5 * SECOND_NS)
    assert late is not None
    assert "stopped or starved" in late.reason
    clock.suspend(30)
    suspended = tick.judge(None, now)
    assert suspended is not None
    assert suspended.lost_ns == 30 * SECOND_NS
    assert tick.judge(None, now) is None
