"""An ordinary user may not read most processes; which of them may hold an end is known even so."""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import signal
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import await_true

from perimortem import proc
from perimortem.examine.waits import examine_waits
from perimortem.procfs.calls import CALLS
from perimortem.procfs.status import read_status
from perimortem.waiting.linux import ends

pytestmark = [pytest.mark.system, pytest.mark.exclusive]

NOBODY = 65534
for module in (
    "perimortem.examine.python_frames",
    "perimortem.analysis.python_locks",
    "multiprocessing.synchronize",
):
    importlib.import_module(module)  # later, as another user, its file may not be readable
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_LIBC = ctypes.CDLL(None)


def become(user):
    """Like a login: every process of this user may be read by it, and no other."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def fork(run):
    child = os.fork()
    if child == 0:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        run()
        os._exit(0)
    return child


def run_as_user(work):
    """What ``work`` returns, in a process of an ordinary user that descends from the first process
    alone, as a user's own sessions do; None if it does not. All that it starts is ended."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        if os.fork() == 0:
            answer = b"error"
            try:
                answer = b"%d" % work() if _leave_for(writer) else b"none"
            except (AssertionError, OSError, ValueError):
                answer = traceback.format_exc().encode()
            finally:
                os.write(writer, answer)
                os.killpg(0, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        answer = answers.read()
    assert answer in ("0", "1", "none"), answer
    return {"0": False, "1": True, "none": None}[answer]


def _leave_for(kept):
    """Holds nothing of the test any more but ``kept``."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)  # handlers of the test itself may wake it
    become(NOBODY)
    deadline = time.monotonic() + 5
    while os.getppid() != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.getppid() == 1


def list_children(pid):
    return [child for _, child in proc.list_children([pid])]


def find_call(pid):
    """The system call in which it sleeps; empty if it is in none."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return CALLS.get(int(number), "") if number.isdecimal() else ""


def check(result):
    if result is None:
        pytest.skip("processes whose parent has ended go to another one than the first")
    assert result


def full_pipe(helper=None):
    """(parent, child): the child writes into a pipe that its parent does not read."""
    reader, writer = os.pipe()

    def begin():
        if helper is not None:
            fork(helper)
        child = fork(lambda: os.write(writer, b"x" * 1_000_000))
        os.waitpid(child, 0)

    parent = fork(begin)
    os.close(reader)
    os.close(writer)

    await_true(lambda: len(list_children(parent)) == (1 if helper is None else 2))
    child = list_children(parent)[-1]
    await_true(lambda: find_call(child) == "write")
    return [parent, child]


@pytest.fixture(autouse=True)
def _in_first_namespace():
    if not ends.is_first_pid_namespace():
        pytest.skip("in a container nothing is claimed of pipes")


def test_a_deadlock_of_two_processes_of_an_ordinary_user():
    def work():
        return [len(d.circle) for d in examine_waits(full_pipe()).deadlocks] == [2]

    check(run_as_user(work))


def two_locks():
    """(parent, child): each holds a lock of multiprocessing that the other wants."""

    def cross(first, second, both):
        first.acquire()
        both.release()
        while both.get_value() < 2:
            time.sleep(0.01)
        second.acquire()

    def begin():
        context = multiprocessing.get_context("fork")
        a, b, both = context.Lock(), context.Lock(), context.Semaphore(0)
        fork(lambda: cross(b, a, both))
        cross(a, b, both)

    parent = fork(begin)
    await_true(lambda: list_children(parent))
    pids = [parent, *list_children(parent)]
    await_true(lambda: all(find_call(pid) == "futex" for pid in pids))
    return pids


def test_what_any_process_may_have_opened():
    """The memory of a semaphore had a name: a process that may not be read may have it, too."""

    def work():
        found = examine_waits(two_locks())
        outside = [t.wait.outside for t in found.graph.threads.values() if t.wait is not None]
        return not found.deadlocks and all(outside)

    check(run_as_user(work))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root starts a process that its user may not read"
)
def test_a_helper_that_may_not_be_read_may_hold_the_other_end():
    """A child with other rights, as a setuid program has them: it inherited the reading end."""

    def helper():
        _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        time.sleep(600)

    def work():
        pids = full_pipe(helper)
        assert read_status(pids[0]) is not None
        found = examine_waits(pids)
        outside = [t.wait.outside for t in found.graph.threads.values() if t.wait is not None]
        return not found.deadlocks and any("may not be read" in text for text in outside)

    check(run_as_user(work))


def stat_of(parent, start, *, is_kernel_thread=False):
    return SimpleNamespace(
        parent_pid=parent, start_time_ticks=start, is_kernel_thread=is_kernel_thread
    )


TREE = {
    5: stat_of(1, 2),  # a login of root
    10: stat_of(5, 5),  # its session, in which ours began
    20: stat_of(10, 100),  # ours
    21: stat_of(20, 110),
    30: stat_of(1, 3),  # a daemon
    31: stat_of(30, 200),  # its job
    40: stat_of(20, 200),  # a child of ours
    41: stat_of(40, 210),
    50: stat_of(1, 200),  # whose parent has ended
    51: stat_of(10, 50),  # begun in the session, before ours
    52: stat_of(98, 200),  # whose parent ends at this moment
    60: stat_of(2, 200, is_kernel_thread=True),
}


@pytest.mark.parametrize(
    ("pid", "may"),
    [(1, False), (5, True), (10, True), (30, False), (31, False), (40, True), (41, True), (50, True),
     (51, True), (52, True), (60, False), (99, False)],
)  # fmt: skip
def test_who_may_share_descriptors(monkeypatch, pid, may):
    """By inheritance: those from whom ours descend, and those that descend from them."""
    monkeypatch.setattr(ends, "read_stat", TREE.get)
    monkeypatch.setattr(ends, "_list_processes", list)
    looked = ends.Ends([20, 21])
    assert looked._may_share(pid) is may
