"""Who waits for whom: circles of locks are found, and none where there is none."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
from conftest import await_true
from test_stacks import find_python

pytestmark = pytest.mark.system
PYTHON_CIRCLE = """
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


def look(perimortem, what):
    result = perimortem.call("stack", "--json", "--no-lines", what)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def await_circle(perimortem, pid, count):
    """The threads have said that they are about to wait: they will, any moment."""
    for _ in range(100):
        document = look(perimortem, pid)
        if document["deadlocks"]:
            (deadlock,) = document["deadlocks"]
            if len(deadlock["tids"]) == count:
                return document, deadlock
    raise AssertionError(document["waits"])


def assert_is_circle(document, deadlock):
    """Each waits for the next one, the last one for the first."""
    owners = {wait["tid"]: wait["owner_tid"] for wait in document["waits"]}
    tids = deadlock["tids"]
    assert [owners[tid] for tid in tids] == [*tids[1:], tids[0]]
    assert all(str(tid) in deadlock["text"] for tid in tids)


@pytest.mark.parametrize("program", ["locks circle", "locks_cpp"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_circle_of_mutexes(perimortem, start, tmp_path, program, count):
    running = start(*program.split(), count)
    document, deadlock = await_circle(perimortem, running.pid, count)
    assert_is_circle(document, deadlock)
    path = tmp_path / "hung.dmp"
    assert perimortem.call("dump", running.pid, "-o", path).returncode == 0
    (later,) = look(perimortem, path)["deadlocks"]
    assert sorted(later["tids"]) == sorted(deadlock["tids"])
    assert f"deadlock of {count} threads" in perimortem.call("analyze", path).stdout


def test_a_lock_has_its_name(perimortem, start):
    running = start("locks", "self")
    _, deadlock = await_circle(perimortem, running.pid, 1)
    assert re.search(r"mutex 0x\w+ \(guard\), which it holds itself", deadlock["text"])


@pytest.mark.parametrize("kind", ["join", "rwlock"])
def test_other_circles(perimortem, start, kind):
    running = start("locks", kind)
    document, deadlock = await_circle(perimortem, running.pid, 2)
    assert_is_circle(document, deadlock)
    words = {"join": "waits for the end of thread", "rwlock": "read-write lock"}[kind]
    assert words in deadlock["text"]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a_circle_of_python_s_locks(perimortem, start, version, count, kind):
    running = start([find_python(version), "-c", PYTHON_CIRCLE, str(count), kind])
    document, deadlock = await_circle(perimortem, running.pid, count)
    assert_is_circle(document, deadlock)
    assert "Python lock" in deadlock["text"]


def test_a_circle_of_python_s_locks_in_a_full_dump(perimortem, start, tmp_path):
    running = start([os.path.realpath(sys.executable), "-c", PYTHON_CIRCLE, "3", "Lock"])
    await_circle(perimortem, running.pid, 3)
    path = tmp_path / "full.dmp"
    assert perimortem.call("dump", running.pid, "--type", "full", "-o", path).returncode == 0
    document = look(perimortem, path)
    (deadlock,) = document["deadlocks"]
    assert_is_circle(document, deadlock)


def test_a_lock_that_was_taken_by_acquire_has_no_known_holder(perimortem, start):
    script = (
        "import threading\nlock = threading.Lock()\nlock.acquire()\n"
        "print('ready', flush=True)\nlock.acquire()\n"
    )
    running = start([os.path.realpath(sys.executable), "-c", script])
    for _ in range(100):
        waits = look(perimortem, running.pid)["waits"]
        if waits and waits[0]["kind"] == "python-lock":
            break
    (wait,) = waits
    assert wait["owner_tid"] is None
    assert "acquire()" in wait["text"]


def test_a_chain_is_no_circle(perimortem, start):
    running = start("locks", "chain", 5)
    for _ in range(100):
        document = look(perimortem, running.pid)
        assert document["deadlocks"] == []
        if sum(wait["owner_tid"] is not None for wait in document["waits"]) == 4:
            return
    raise AssertionError(document["waits"])


@pytest.mark.parametrize("argv", [["locks", "busy", "16"], ["python"]], ids=["c", "python"])
def test_busy_programs_are_never_called_deadlocked(perimortem, start, argv):
    """Fifty looks at each: locks are taken and given back all the time."""
    from perimortem.examine import examine_process
    from perimortem.examine.options import ExamineOptions
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
    assert waited > 0, "nobody ever waited for anybody: the test proves nothing"


def test_a_hang_names_its_deadlock(perimortem, programs):
    report = perimortem.report(
        programs / "deadlock", options=("--threshold", "3", "--on-hang", "kill")
    )
    facts = [e for e in report["evidence"] if e["source"] == "stacks"]
    assert any("deadlock of 2 threads" in fact["fact"] for fact in facts)
    (hang,) = report["hangs"]
    assert "the same stack" in hang["stacks"]
    assert "pthread_mutex_lock" in hang["stacks"]


def test_a_busy_loop_is_seen_to_move(perimortem, start):
    running = start("locks", "busy", 1)

    def look_twice():
        document = json.loads(perimortem.call("stack", "--json", "--twice", running.pid).stdout)
        return [note for thread in document["threads"] for note in thread["notes"]]

    # By chance it may stand at the very same instruction.
    await_true(lambda: any(note.startswith("it moves") for note in look_twice()))
    assert any(note.startswith("the same stack") for note in look_twice())  # main waits
