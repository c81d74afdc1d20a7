"""What is probably a fault: circles by assumed holders, locks whose holder goes on, rests."""

from __future__ import annotations

from dataclasses import replace

from perimortem.analysis.liveness import find_deadlocks, is_same
from perimortem.analysis.suspicions import find_suspicions
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.stuck import Grade
from perimortem.model.wait_graph import GraphProcess, GraphThread, Wait, WaitGraph, WaitsFor

PID = 100


def make_graph(waits, **process):
    info = ProcessInfo(ProcessRef(PID, 1), "server", None, (), 0)
    threads = {tid: GraphThread(tid, PID, f"t{tid}", wait, 0) for tid, wait in waits.items()}
    return WaitGraph({PID: GraphProcess(info, 1, **process)}, threads)


def find(graph):
    return [
        (grade, found.circle, found.waiting)
        for grade, found in find_suspicions(graph, find_deadlocks(graph))
    ]


def lock(holder, *, everyone):
    """Of Python: anyone may release it, and a `with` says who holds it."""
    wakers = frozenset(everyone)
    return Wait(WaitsFor.CONDITION, "a lock", (holder,), wakers, assumed_holder=holder)


SLEEP = Wait(WaitsFor.TIME, "a time", outside="a time")


def test_two_with_statements_and_a_third_thread_that_works():
    everyone = {1, 2, 3, 4}
    graph = make_graph(
        {
            1: None,
            2: lock(3, everyone=everyone),
            3: lock(2, everyone=everyone),
            4: lock(2, everyone=everyone),
        }
    )
    assert not find_deadlocks(graph)
    assert find(graph) == [(Grade.ASSUMED, (2, 3), (4,))]


def test_what_is_certain_is_no_suspicion():
    graph = make_graph({2: lock(3, everyone={2, 3}), 3: lock(2, everyone={2, 3})})
    assert find_deadlocks(graph)
    assert not find(graph)


def test_a_lock_whose_holder_goes_on():
    graph = make_graph({1: SLEEP, 2: lock(1, everyone={1, 2})})
    assert find(graph) == [(Grade.LOCK, (2,), ())]


def test_a_lock_whose_holder_is_not_known():
    waits = {t: Wait(WaitsFor.LOCK, "Rust mutex", wakers=frozenset({1, 2, 3})) for t in (2, 3)}
    assert find(make_graph({1: SLEEP, **waits})) == [(Grade.UNOWNED, (2,), (3,))]


def test_a_lock_that_is_waited_for_again_and_again_is_the_same():
    """However often its threads have run: Java's monitors, Python's GIL."""
    monitor = Wait(WaitsFor.LOCK, "monitor", ("monitor", 1), frozenset({3}), retries=True)
    plain = replace(monitor, retries=False)
    for wait, expected in ((monitor, True), (plain, False)):
        first = WaitGraph({}, {2: GraphThread(2, PID, "t", wait, 7)})
        second = WaitGraph({}, {2: GraphThread(2, PID, "t", wait, 8)})
        assert is_same(first, second, [2]) is expected


def test_equal_addresses_in_two_processes_are_two_locks():
    info = ProcessInfo(ProcessRef(PID, 1), "server", None, (), 0)
    threads = {
        tid: GraphThread(tid, pid, "t", wait, 0)
        for tid, pid, wait in (
            (1, PID, SLEEP),
            (2, PID, Wait(WaitsFor.LOCK, "Rust mutex at 0x10", wakers=frozenset({1, 2}))),
            (11, PID + 1, SLEEP),
            (12, PID + 1, Wait(WaitsFor.LOCK, "Rust mutex at 0x10", wakers=frozenset({11, 12}))),
        )
    }
    graph = WaitGraph({p: GraphProcess(info, 1) for p in (PID, PID + 1)}, threads)
    assert find(graph) == [(Grade.UNOWNED, (2,), ()), (Grade.UNOWNED, (12,), ())]


def test_a_handler_of_python_may_end_the_wait_of_the_main_thread_for_a_lock():
    """By an exception; that of another program cannot."""
    waits = {
        PID: Wait(WaitsFor.LOCK, "a", wakers=frozenset({2}), is_interruptible=True),
        2: Wait(WaitsFor.LOCK, "b", wakers=frozenset({PID})),
    }
    sigalrm = {"caught": frozenset({14})}
    assert not find_deadlocks(make_graph(waits, **sigalrm))
    assert find_deadlocks(make_graph(waits, caught=frozenset({2, 15})))
    waits[PID] = replace(waits[PID], is_interruptible=False)
    assert find_deadlocks(make_graph(waits, **sigalrm))


def test_a_lock_with_a_time_limit_is_none():
    limited = Wait(WaitsFor.LOCK, "lock", wakers=frozenset({1}), outside="a time limit")
    assert not find(make_graph({1: SLEEP, 2: limited}))


def test_only_ctrl_c_ends_it():
    waits = {1: Wait(WaitsFor.CONDITION, "a lock or a condition", wakers=frozenset({1}))}
    python = {"caught": frozenset({2}), "is_interrupted_by_runtime": True}
    assert find(make_graph(waits, **python)) == [(Grade.RESTS, (1,), ())]
    assert not find(make_graph(waits, caught=frozenset({2}))), "a handler that the program has set"
    assert not find(make_graph(waits, **{**python, "caught": frozenset({2, 15})}))


def test_a_program_that_waits_for_the_network_rests():
    accept = Wait(WaitsFor.SOCKET, "a new connection", outside="a new connection")
    assert not find(make_graph({1: accept, 2: accept}, caught=frozenset({2})))
