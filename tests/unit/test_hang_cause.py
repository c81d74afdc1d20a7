"""From two samples to the kind of a hang."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.hang_cause import derive_cause, describe_cause
from perimortem.model.thread_sample import HangKind, ProcessSample, ThreadSample

SPAN_NS = 100_000_000
PID = 10


def thread(
    tid=PID, wait=None, run_ms=0, ready_ms=0, slices=0, name="main", description="", late_ms=0
):
    """``late_ms``: how long after the start of the sample this thread was read."""
    ns = (ms * 10**6 for ms in (late_ms, run_ms, ready_ms))
    return ThreadSample(tid, name, wait, description, *ns, slices)


def judge(first, second, names=("work",), slept_ns=0):
    second = [replace(thread, at_ns=SPAN_NS + thread.at_ns) for thread in second]
    return derive_cause(
        ProcessSample(0, 0, tuple(first), len(first)),
        ProcessSample(SPAN_NS, slept_ns, tuple(second), len(second)),
        PID,
        names,
    )


def test_a_loop_and_two_loops_that_share_a_processor():
    assert judge([thread()], [thread(run_ms=95, slices=3)]).kind is HangKind.BUSY
    assert judge([thread()], [thread(run_ms=48, ready_ms=50, slices=9)]).kind is HangKind.BUSY


def test_who_waited_before_and_runs_by_chance_is_not_busy():
    cause = judge([thread(wait=HangKind.WAITING)], [thread(run_ms=1, slices=3)])
    assert cause.kind is HangKind.WAITING
    assert (
        judge([thread(wait=HangKind.WAITING)], [thread(run_ms=9, slices=3)]).kind is HangKind.BUSY
    )


def test_what_a_loop_does():
    """Calls that return at once take the time of the kernel."""
    ran = replace(
        thread(run_ms=95, slices=3), user_ns=30_000_000, kernel_ns=60_000_000, transfers=84_321
    )
    text = describe_cause(judge([thread()], [ran]))
    assert "ran 95% of the time, 67% of it in the kernel, 840,000 reads and writes a second" in text
    few = replace(thread(run_ms=95, slices=3), user_ns=10_000_000, transfers=3)
    assert describe_cause(judge([thread()], [few])).endswith("ran 95% of the time")


def test_ready_and_never_let_run():
    assert judge([thread()], [thread(ready_ms=99)]).kind is HangKind.STARVED
    assert (
        judge([thread()], [thread()]).kind is HangKind.STARVED
    )  # throttled: not even waiting counts


def test_shares_are_of_the_time_between_the_samples_of_that_thread():
    """We ourselves may be kept from the processor in the middle of a sample."""
    cause = judge([thread()], [thread(run_ms=40, ready_ms=160, slices=9, late_ms=100)])
    assert cause.kind is HangKind.STARVED
    assert "ran 50%" in describe_cause(judge([thread(late_ms=50)], [thread(run_ms=25, slices=2)]))


def test_a_lock_that_is_held_and_one_that_comes_and_goes():
    lock = HangKind.LOCK
    assert judge([thread(wait=lock)], [thread(wait=lock)]).kind is lock
    cause = judge([thread(wait=lock)], [thread(wait=lock, slices=4)])
    assert cause.kind is HangKind.WAITING
    assert "again and again" in describe_cause(cause)


def test_the_thread_with_the_name_of_the_heartbeat_is_the_one():
    rests = thread(wait=HangKind.WAITING)
    render = thread(11, wait=HangKind.DISK, name="render")
    cause = judge([rests, render], [rests, render], names=("render",))
    assert (cause.kind, cause.culprit.tid) == (HangKind.DISK, 11)


def test_main_only_waits_and_another_keeps_it_waiting():
    rests = thread(wait=HangKind.WAITING)
    cause = judge([rests, thread(11)], [rests, thread(11, run_ms=90, slices=2)])
    assert (cause.kind, cause.culprit.tid) == (HangKind.BUSY, 11)
    pool = thread(12, wait=HangKind.LOCK)  # how a pool of threads rests
    assert judge([rests, pool], [rests, pool]).kind is HangKind.WAITING


def test_the_machine_slept():
    assert judge([thread()], [thread()], slept_ns=10**9).kind is HangKind.SUSPENDED


sampled = st.builds(
    thread,
    st.integers(1, 5),
    st.sampled_from([None, *HangKind]),
    st.integers(0, 200),
    st.integers(0, 200),
    st.integers(0, 9),
    st.sampled_from(["work", "main"]),
)


@given(st.lists(sampled, max_size=6), st.lists(sampled, max_size=6))
def test_there_is_always_one_answer_in_one_line(first, second):
    cause = judge(first, second)
    assert cause.kind in HangKind
    assert "\n" not in describe_cause(cause)
    assert len(cause.threads) == len(second)
