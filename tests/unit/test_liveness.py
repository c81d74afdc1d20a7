"""Deadlocked is exactly what a simulation says can never move."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.liveness import find_deadlocks, find_stuck, is_same
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.wait_graph import GraphProcess, GraphThread, Wait, WaitGraph, WaitsFor


def process(pid, **facts):
    return GraphProcess(ProcessInfo(ProcessRef(pid, 1), f"p{pid}", None, (), 0), 1, **facts)


def wait(*wakers, what=WaitsFor.LOCK, **facts):
    return Wait(what, "it", ("futex",), frozenset(wakers), **facts)


def graph(waits, processes=None, pids=None):
    """``waits``: by tid; all in process 1 unless ``pids`` says else."""
    pids = pids or {}
    threads = {tid: GraphThread(tid, pids.get(tid, 1), "", w, 7) for tid, w in waits.items()}
    processes = processes or {pid: process(pid) for pid in {t.pid for t in threads.values()}}
    return WaitGraph(processes, threads)


def simulate(waits, processes, pids, chance):
    """Let happen what can, in any order, until nothing can: who has never moved?

    A thread that has moved once does anything later, its own end and that of its process included."""
    moved = {tid for tid, w in waits.items() if w is None}
    dead = {pid for pid, p in processes.items() if p.timer}
    while True:
        events = []
        for tid, w in waits.items():
            if tid in moved or w is None:
                continue
            met = [waker in moved or waker not in waits for waker in w.wakers]
            by_death = w.ends_by_death and any(pids.get(x) in dead for x in w.wakers)
            own = processes[pids[tid]]
            rests = w.what is not WaitsFor.LOCK and bool(own.caught)
            woken = all(met) if w.needs_all else any(met)
            unknown = any(waker not in waits for waker in w.wakers)
            if w.outside or woken or by_death or rests or own.timer or unknown:
                events.append(tid)
        if not events:
            return set(waits) - moved
        moved.add(chance.choice(events))


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 8))
    tids = list(range(100, 100 + count))
    pids = {tid: draw(st.integers(1, 3)) for tid in tids}
    processes = {
        pid: process(
            pid,
            timer=draw(st.sampled_from(["", "", "", "a timer"])),
            caught=draw(st.sampled_from([frozenset(), frozenset({10})])),
        )
        for pid in (1, 2, 3)
    }
    waits = {}
    for tid in tids:
        if draw(st.integers(0, 5)) == 0:
            waits[tid] = None
            continue
        waits[tid] = Wait(
            draw(st.sampled_from([WaitsFor.LOCK, WaitsFor.CONDITION])),
            "it",
            (),
            frozenset(draw(st.sets(st.sampled_from([*tids, 999]), max_size=4)) - {999})
            | (frozenset({999}) if draw(st.integers(0, 15)) == 0 else frozenset()),
            needs_all=draw(st.booleans()),
            outside=draw(st.sampled_from(["", "", "", "", "a time limit"])),
            ends_by_death=draw(st.booleans()),
        )
    return waits, processes, pids, draw(st.integers(0, 1000))


@given(graphs())
def test_deadlocked_is_what_no_order_of_events_can_move(drawn):
    waits, processes, pids, seed = drawn
    found = find_stuck(graph(waits, processes, pids))
    assert found == simulate(waits, processes, pids, random.Random(seed))


@given(graphs())
def test_every_stuck_thread_is_in_a_circle_or_waits_for_one(drawn):
    waits, processes, pids, _ = drawn
    whole = graph(waits, processes, pids)
    stuck = find_stuck(whole)
    deadlocks = find_deadlocks(whole)
    assert stuck == {tid for d in deadlocks for tid in (*d.circle, *d.waiting)}
    for deadlock in deadlocks:
        assert all(waits[tid].wakers & stuck <= set(deadlock.circle) for tid in deadlock.circle)
        assert not stuck & {tid for tid, w in waits.items() if w is None}


def test_two_threads_of_a_server_that_goes_on_serving():
    found = find_deadlocks(graph({1: None, 2: wait(3), 3: wait(2), 4: wait(3), 5: wait(1, 2)}))
    assert [(d.circle, d.waiting) for d in found] == [((2, 3), (4,))]


def test_a_lock_whose_holder_is_gone_is_a_deadlock_of_one():
    found = find_deadlocks(graph({1: None, 2: wait()}))
    assert [(d.circle, d.waiting) for d in found] == [((2,), ())]


def test_all_are_needed_at_a_barrier():
    assert find_stuck(graph({1: None, 2: wait(1, 3, needs_all=True), 3: wait(3)})) == {2, 3}
    assert find_stuck(graph({1: None, 2: wait(1, 3), 3: wait(3)})) == {3}


SIGINT, SIGUSR1, SIGSEGV, SIGTERM = 2, 10, 11, 15


@pytest.mark.parametrize(
    ("what", "caught", "is_stuck"),
    [
        (WaitsFor.LOCK, SIGUSR1, True),
        (WaitsFor.CHILD, SIGUSR1, False),
        (WaitsFor.CHILD, SIGTERM, True),
        (WaitsFor.CONDITION, SIGTERM, False),
        (WaitsFor.CONDITION, SIGINT, False),
        (WaitsFor.LOCK, SIGINT, True),
        (WaitsFor.CONDITION, SIGSEGV, True),
    ],
)
def test_a_handler_of_the_programs_own_may_end_a_rest_and_releases_no_lock(what, caught, is_stuck):
    waits = {1: wait(2, what=what), 2: wait(1, what=what)}
    processes = {1: process(1, caught=frozenset({caught}))}
    assert bool(find_stuck(graph(waits, processes))) is is_stuck


@pytest.mark.parametrize(
    ("what", "is_stuck"), [(WaitsFor.CONDITION, True), (WaitsFor.DESCRIPTOR, False)]
)
def test_the_handler_that_every_python_program_has_ends_an_event_loop_alone(what, is_stuck):
    facts = {"caught": frozenset({SIGINT}), "is_interrupted_by_runtime": True}
    waits = {1: wait(2, what=what), 2: wait(1, what=what)}
    assert bool(find_stuck(graph(waits, {1: process(1, **facts)}))) is is_stuck
    alone = {1: wait(1, what=what)}
    assert not find_stuck(graph(alone, {1: process(1, **facts)}))


def test_a_parent_and_a_child_that_wait_for_each_other():
    pids = {10: 1, 20: 2}
    waits = {
        10: wait(20, what=WaitsFor.CHILD, ends_by_death=True),
        20: wait(10, what=WaitsFor.PIPE, ends_by_death=True),
    }
    assert find_stuck(graph(waits, None, pids)) == {10, 20}
    timed = {1: process(1), 2: process(2, timer="a timer that ends it")}
    assert find_stuck(graph(waits, timed, pids)) == set()


def test_two_looks_must_show_the_same():
    first = graph({1: wait(2), 2: wait(1), 3: None})
    assert is_same(first, graph({1: wait(2), 2: wait(1), 3: wait(1)}), (1, 2))
    assert not is_same(first, graph({1: wait(2), 2: wait(3), 3: None}), (1, 2))
    assert not is_same(first, graph({1: wait(2)}), (1, 2))


def test_thousands_of_threads_that_share_their_wakers():
    everyone = frozenset(range(1, 20_001))
    whole = graph({tid: Wait(WaitsFor.CONDITION, "it", (), everyone) for tid in everyone})
    (deadlock,) = find_deadlocks(whole)
    assert len(deadlock.circle) == len(everyone)


def test_long_chains_need_no_deep_recursion():
    count = 5000
    waits = {tid: wait(tid % count + 1) for tid in range(1, count + 1)}
    (deadlock,) = find_deadlocks(graph(waits))
    assert len(deadlock.circle) == count
