"""Which thread waits for which: cycles of locks are found, and none where there is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import await_true
from test_stacks import find_python

pytestmark = pytest.mark.system
PYTHON_CYCLE = """
import sys, threading
count, kind = int(sys.argv[1]), getattr(threading, sys.argv[2])
locks, all_there = [kind() for _ in range(count)], threading.Barrier(count + 1)
def take(own):
    with locks[own]:
        all_there.wait()
        with locks[(own + 1) % count]:
            pass
threads = [threading.Thread(target=take, args=(i,), daemon=True) for i in range(count)]
for thread in threads:
    thread.start()
all_there.wait()
print("ready", flush=True)
threads[0].join()
"""
PYTHON_BUSY = """
import random, threading
locks = [threading.Lock() for _ in range(8)]
def work():
    while True:
        first, second = sorted(random.sample(range(8), 2))
        with locks[first], locks[second]:
            sum(range(50))
for _ in range(6):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
work()
"""


# A once had L in a call that is over; its dead value's memory is now that of B's.
PYTHON_DEAD_VALUES = """
import sys, threading, time
L, M, step = threading.Lock(), threading.Lock(), 0
def wait(number):
    while step < number: time.sleep(.01)
def use():
    with L: pass
def helper(): use()
def a():
    global step
    wait(1); helper(); step = 2
    while step < 4: time.sleep(.01)
    with M: pass
def b():
    global step
    spare = [].append
    with M:
        step = 1; wait(3); spare = None
        with L: pass
threads = [threading.Thread(target=work, daemon=True) for work in (b, a)]
for thread in threads: thread.start()
wait(2); L.acquire(); step = 3; time.sleep(.1); step = 4
print("ready", flush=True)
time.sleep(60)
"""
# One that waits for a lock inside its own `with` of it; another will release it.
PYTHON_RELEASED_BY_ANOTHER = """
import threading, time
lock = threading.Lock()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
with lock: lock.acquire()
"""


def examine(perimortem, what):
    result = perimortem.call("stack", "--json", "--no-lines", what)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def await_cycle(perimortem, pid, count):
    """The threads have said that they are about to wait: they will, any moment."""
    for _ in range(100):
        document = examine(perimortem, pid)
        if document["deadlocks"]:
            (deadlock,) = document["deadlocks"]
            if len(deadlock["tids"]) == count:
                return document, deadlock
    raise AssertionError(document["waits"])


def assert_is_cycle(document, deadlock):
    """Each waits for the next one, the last one for the first."""
    owners = {wait["tid"]: wait["owner_tid"] for wait in document["waits"]}
    tids = deadlock["tids"]
    assert [owners[tid] for tid in tids] == [*tids[1:], tids[0]]
    assert all(str(tid) in deadlock["text"] for tid in tids)


@pytest.mark.parametrize("program", ["locks cycle", "locks_cpp"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_cycle_of_mutexes(perimortem, start, tmp_path, program, count):
    running = start(*program.split(), count)
    document, deadlock = await_cycle(perimortem, running.pid, count)
    assert_is_cycle(document, deadlock)
    path = tmp_path / "hung.dmp"
    assert perimortem.call("dump", running.pid, "-o", path).returncode == 0
    (later,) = examine(perimortem, path)["deadlocks"]
    assert sorted(later["tids"]) == sorted(deadlock["tids"])
    assert f"deadlock of {count} threads" in perimortem.call("analyze", path).stdout


def test_a_lock_has_its_name(perimortem, start):
    running = start("locks", "self")
    _, deadlock = await_cycle(perimortem, running.pid, 1)
    assert re.search(r"mutex 0x\w+ \(guard\), which it holds itself", deadlock["text"])


@pytest.mark.parametrize("kind", ["join", "rwlock"])
def test_other_cycles(perimortem, start, kind):
    running = start("locks", kind)
    document, deadlock = await_cycle(perimortem, running.pid, 2)
    assert_is_cycle(document, deadlock)
    words = {"join": "waits for the end of thread", "rwlock": "read-write lock"}[kind]
    assert words in deadlock["text"]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a_cycle_of_python_s_locks(perimortem, start, version, count, kind):
    running = start([find_python(version), "-c", PYTHON_CYCLE, str(count), kind])
    document, deadlock = await_cycle(perimortem, running.pid, count)
    assert_is_cycle(document, deadlock)
    assert "Python lock" in deadlock["text"]


def test_a_cycle_of_python_s_locks_in_a_full_dump(perimortem, start, tmp_path):
    running = start([os.path.realpath(sys.executable), "-c", PYTHON_CYCLE, "3", "Lock"])
    await_cycle(perimortem, running.pid, 3)
    path = tmp_path / "full.dmp"
    assert perimortem.call("dump", running.pid, "--type", "full", "-o", path).returncode == 0
    document = examine(perimortem, path)
    (deadlock,) = document["deadlocks"]
    assert_is_cycle(document, deadlock)


def test_a_lock_that_was_taken_by_acquire_has_no_known_holder(perimortem, start):
    script = (
        "import threading\nlock = threading.Lock()\nlock.acquire()\n"
        "print('ready', flush=True)\nlock.acquire()\n"
    )
    running = start([os.path.realpath(sys.executable), "-c", script])
    for _ in range(100):
        waits = examine(perimortem, running.pid)["waits"]
        if waits and waits[0]["kind"] == "python-lock":
            break
    (wait,) = waits
    assert wait["owner_tid"] is None
    assert "its holder is not noted" in wait["text"]


@pytest.mark.parametrize(
    ("script", "count"), [(PYTHON_DEAD_VALUES, 2), (PYTHON_RELEASED_BY_ANOTHER, 1)]
)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_dead_values_hold_no_lock(perimortem, start, version, script, count):
    running = start([find_python(version), "-c", script])
    await_true(lambda: len(_python_waits(examine(perimortem, running.pid))) == count)
    document = examine(perimortem, running.pid)
    assert document["deadlocks"] == []
    owners = [wait["owner_tid"] for wait in _python_waits(document)]
    assert owners.count(None) == 1


def _python_waits(document):
    return [wait for wait in document["waits"] if wait["kind"] == "python-lock"]


PYTHON_CONDITION = """
import threading, time
lock = threading.Lock()
condition = threading.Condition(lock)
def sleeper():
    with lock: condition.wait()
def holder():
    lock.acquire()
    time.sleep(60)
def waiter():
    with lock: pass
for work in (sleeper, holder, waiter):
    threading.Thread(target=work, daemon=True).start()
    time.sleep(.1)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_thread_that_waits_for_a_condition_has_released_its_lock(perimortem, start):
    running = start([os.path.realpath(sys.executable), "-c", PYTHON_CONDITION])
    await_true(lambda: len(_python_waits(examine(perimortem, running.pid))) >= 2)
    waits = _python_waits(examine(perimortem, running.pid))
    assert {wait["owner_tid"] for wait in waits} == {None}


def test_a_cycle_of_with_blocks_is_reported_with_its_assumption(perimortem, start):
    """A `with` may have released its lock inside; nothing in the process says so."""
    running = start([os.path.realpath(sys.executable), "-c", PYTHON_CYCLE, "2", "Lock"])
    _, deadlock = await_cycle(perimortem, running.pid, 2)
    assert deadlock["confidence"] == "derived"
    assert "unless one has released its lock" in deadlock["text"]
    running = start([os.path.realpath(sys.executable), "-c", PYTHON_CYCLE, "2", "RLock"])
    _, deadlock = await_cycle(perimortem, running.pid, 2)
    assert deadlock["confidence"] == "observed"
    assert "unless" not in deadlock["text"]


def test_an_owner_that_has_ended_is_reported(perimortem, start):
    running = start("locks", "dead-owner")
    await_true(lambda: examine(perimortem, running.pid)["waits"])
    (wait,) = examine(perimortem, running.pid)["waits"]
    assert "which is not a thread of this process" in wait["text"]
    text = perimortem.call("stack", running.pid, "--no-lines").stdout
    assert wait["text"] in text


def test_a_lock_of_one_s_own_making_has_no_owner(perimortem, start):
    running = start("locks", "own")
    await_true(lambda: examine(perimortem, running.pid)["waits"][1:])
    document = examine(perimortem, running.pid)
    assert document["deadlocks"] == []
    kinds = {wait["kind"]: wait["owner_tid"] for wait in document["waits"]}
    assert kinds["futex"] is None


def test_a_thread_that_glibc_has_parked(perimortem, start):
    """It got EDEADLK from the kernel, and will wait for ever, but not for what it waits on."""
    running = start("locks", "pi", 2)

    def find_parked():
        waits = examine(perimortem, running.pid)["waits"]
        return [wait for wait in waits if "never get its mutex" in wait["text"]]

    await_true(find_parked)
    (parked,) = find_parked()
    assert parked["kind"] == "futex"


def test_writers_wait_for_one_lock(perimortem, start):
    running = start("locks", "writers", 2)
    await_true(lambda: len(examine(perimortem, running.pid)["waits"]) == 3)
    waits = examine(perimortem, running.pid)["waits"]
    assert {wait["kind"] for wait in waits} == {"rwlock"}
    assert len({wait["address"] for wait in waits}) == 1
    assert any("held by 2 readers" in wait["text"] for wait in waits)


def test_a_chain_is_no_cycle(perimortem, start):
    running = start("locks", "chain", 5)
    for _ in range(100):
        document = examine(perimortem, running.pid)
        assert document["deadlocks"] == []
        if sum(wait["owner_tid"] is not None for wait in document["waits"]) == 4:
            return
    raise AssertionError(document["waits"])


@pytest.mark.parametrize("argv", [["locks", "busy", "16"], ["python"]], ids=["c", "python"])
def test_busy_programs_are_never_called_deadlocked(perimortem, start, argv):
    """Fifty samples of each: locks are taken and released all the time."""
    from perimortem.examine.options import ExamineOptions
    from perimortem.examine.process import examine_process
    from perimortem.proc import find_process
    from perimortem.symbols.files import ImageLibrary

    if argv == ["python"]:
        running = start([os.path.realpath(sys.executable), "-c", PYTHON_BUSY])
    else:
        running = start(*argv)
    waited = 0
    with ImageLibrary() as library:
        options = ExamineOptions(library, with_lines=False)
        for _ in range(50):
            with examine_process(find_process(running.pid), options) as examination:
                assert examination.cycles == ()
                waited += sum(wait.owner_tid is not None for wait in examination.waits)
    assert waited > 0, "no thread ever waited for another: the test proves nothing"


def test_a_hang_names_its_deadlock(perimortem, programs):
    report = perimortem.report(
        programs / "deadlock", options=("--threshold", "3", "--on-hang", "kill")
    )
    facts = [e for e in report["evidence"] if e["source"] == "stacks"]
    assert any("deadlock of 2 threads" in fact["fact"] for fact in facts)
    (hang,) = report["hangs"]
    assert "the same stack" in hang["stacks"]
    assert "pthread_mutex_lock" in hang["stacks"]


def test_a_call_that_returns_at_once_again_and_again(perimortem, tmp_path, begin):
    """The end of a socket that no one takes out of the epoll."""
    source = tmp_path / "spin.c"
    source.write_text(
        "#include <sys/epoll.h>\n#include <sys/socket.h>\n#include <unistd.h>\n"
        "int main(void) { int s[2]; char b[9]; socketpair(AF_UNIX, SOCK_STREAM, 0, s); close(s[1]);\n"
        " int e = epoll_create1(0); struct epoll_event v = {.events = EPOLLIN, .data.fd = s[0]};\n"
        " epoll_ctl(e, EPOLL_CTL_ADD, s[0], &v);\n"
        ' write(1, "ready\\n", 6);\n'
        " for (;;) { epoll_wait(e, &v, 1, 1000); read(v.data.fd, b, 9); } }\n"
    )
    subprocess.run(["cc", "-g", "-o", tmp_path / "spin", source], check=True)
    process = begin([tmp_path / "spin"])
    assert process.stdout.readline() == b"ready\n"

    def is_seen():
        notes = json.loads(perimortem.call("stack", "--json", "--twice", process.pid).stdout)[
            "threads"
        ][0]["notes"]
        return "reads and writes a second" in notes[0] and "in the kernel" in notes[0]

    await_true(is_seen)


def test_a_busy_loop_is_seen_to_move(perimortem, start):
    running = start("locks", "busy", 1)

    def look_twice():
        document = json.loads(perimortem.call("stack", "--json", "--twice", running.pid).stdout)
        return [note for thread in document["threads"] for note in thread["notes"]]

    # By chance it may stand at the very same instruction.
    await_true(lambda: any(note.startswith("it moves") for note in look_twice()))
    assert any(note.startswith("the same stack") for note in look_twice())  # main waits
