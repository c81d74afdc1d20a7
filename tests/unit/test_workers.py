"""The end of a worker is an event: nothing waits for it, and what follows from it comes after it."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from perimortem.monitor.jobs import Job, WorkerKind
from perimortem.monitor.timers import Timers
from perimortem.monitor.workers import WorkerPool
from perimortem.system import Helper
from perimortem.testing.fake_selector import FakeSelector
from perimortem.testing.fake_worker import FakeLauncher
from perimortem.testing.manual_clock import ManualClock

KIND = WorkerKind("the reader", ("reader",), dict, False, 1000, 0.2, at_once_max=4)
WARM_KIND = replace(KIND, has_spare=True)


class Pool:
    """A pool on a manual clock, and what its jobs have said."""

    def __init__(self):
        self.clock = ManualClock(100_000_000_000)
        self.selector = FakeSelector(self.clock)
        self.timers = Timers()
        self.launcher = FakeLauncher(self.selector)
        self.pool = WorkerPool(self.selector, self.timers, self.clock.monotonic_ns, self.launcher)
        self.said = []

    def submit(self, name, pid=7, deadline_s=60.0, kind=KIND):
        job = Job(
            kind, pid, deadline_s, name.encode,
            clean_up=lambda answer: self.said.append(("clean up", name, answer.failure)),
            done=lambda answer: self.said.append(("done", name, answer.output)),
            on_output=lambda output: self.said.append(("output", name, output)),
        )  # fmt: skip
        self.pool.submit(job)
        return job

    def run_for(self, seconds):
        until_ns = self.clock.now_ns + int(seconds * 1e9)
        self.timers.call_later(until_ns, lambda _now_ns: None)
        while self.clock.now_ns < until_ns:
            left_s = max(0, self.timers.next_due_ns() - self.clock.now_ns) / 1e9
            for call in self.selector.wait(left_s):
                call(self.clock.now_ns)
            for call in self.timers.take_due(self.clock.now_ns):
                call(self.clock.now_ns)

    def check_nothing_is_left(self):
        assert not self.pool.is_working
        assert not self.selector.registered
        assert not len(self.timers)
        assert all(worker.is_closed for worker in self.launcher.started)


@pytest.fixture
def pool():
    return Pool()


def test_a_cancelled_job_is_cleaned_up_after_the_end_of_its_worker(pool):
    job = pool.submit("first")
    (worker,) = pool.launcher.started
    worker.ignores_terminate = True
    pool.pool.cancel(job)
    pool.submit("second")
    pool.run_for(1)
    assert pool.said == []
    assert pool.pool.holds(7)
    assert pool.pool.pids() == {worker.pid}
    assert len(pool.launcher.started) == 1, "one worker at a time for a process"
    pool.run_for(1.1)
    assert pool.said == [("clean up", "first", "the reader was cancelled (status -9)")]
    pool.launcher.started[1].answer(b"x")
    pool.run_for(0.1)
    assert pool.said[1:] == [
        ("output", "second", b"x"), ("clean up", "second", None), ("done", "second", b"x"),
    ]  # fmt: skip
    pool.check_nothing_is_left()


def test_what_a_cancelled_worker_still_says_is_for_the_clean_up_alone(pool):
    job = pool.submit("first")
    (worker,) = pool.launcher.started
    worker.ignores_terminate = True
    pool.pool.cancel(job)
    pool.pool.cancel(job)
    worker.answer(b"whole")
    pool.run_for(0.1)
    assert pool.said == [("clean up", "first", "the reader was cancelled (status 0)")]
    pool.check_nothing_is_left()


def test_one_that_not_even_sigkill_ends_is_left_alone(pool):
    pool.submit("first", deadline_s=5)
    (worker,) = pool.launcher.started
    worker.ignores_terminate = worker.ignores_kill = True
    pool.run_for(7.9)
    assert pool.said == []
    pool.run_for(0.2)
    failure = "the reader took too long and was ended (status -1)"
    assert pool.said == [("clean up", "first", failure), ("done", "first", b"")]
    pool.check_nothing_is_left()


def test_one_that_has_answered_and_does_not_end_is_ended(pool):
    pool.submit("first")
    (worker,) = pool.launcher.started
    worker.answer(b"x")
    worker.status = None
    pool.run_for(0.19)
    assert pool.said == [("output", "first", b"x")]
    pool.run_for(0.05)
    assert pool.said[1:] == [("clean up", "first", None), ("done", "first", b"x")]
    pool.check_nothing_is_left()


def test_one_that_says_too_much_is_ended(pool):
    pool.submit("first")
    pool.launcher.started[0].die(0, output=b"x" * 2000)
    pool.run_for(0.1)
    failure = "the reader wrote too much output and was ended (status 0)"
    assert pool.said == [("clean up", "first", failure), ("done", "first", b"x" * 1001)]
    pool.check_nothing_is_left()


def test_the_end_of_the_watch_ends_all_of_them(pool):
    jobs = [pool.submit(str(pid), pid) for pid in range(6)]
    pool.pool.cancel(jobs[0])
    pool.launcher.started[1].ignores_terminate = True
    pool.pool.close()
    assert [(what, name) for what, name, _ in pool.said] == [("clean up", n) for n in "0123"]
    pool.check_nothing_is_left()


def test_a_spare_is_started_some_time_after_an_answer(pool):
    pool.submit("first", kind=WARM_KIND)
    pool.launcher.started[0].answer(b"yes")
    pool.run_for(0.001)
    assert pool.said[-1] == ("done", "first", b"yes")
    assert len(pool.launcher.started) == 1
    pool.run_for(0.1)
    assert len(pool.launcher.started) == 2
    pool.submit("second", kind=WARM_KIND)
    assert pool.launcher.started[1].question == b"second"


def test_a_spare_that_is_not_needed_ends_by_itself(pool):
    """A monitor that watches this one would report that it was killed."""
    pool.pool.warm_up(WARM_KIND)
    pool.pool.dismiss_spares()
    (spare,) = pool.launcher.started
    assert (spare.question, spare.status) == (b"", 0)
    job = pool.submit("late", kind=WARM_KIND)
    assert pool.launcher.started[1].question == b"late"
    pool.pool.cancel(job)
    pool.run_for(0.1)
    pool.pool.close()
    assert not spare.was_killed
    assert len(pool.launcher.started) == 2
    pool.check_nothing_is_left()


def run_helper(code, question=b"", **options):
    helper = Helper((sys.executable, "-c", code), dict(os.environ), **options)
    helper.ask(question)
    output = b""
    while (part := helper.read()) != b"":
        output += part or b""
        time.sleep(0.001)
    status = helper.end(10)
    assert helper.poll() == status
    helper.close()
    return output, status


ECHO = "import sys; sys.stdout.write(sys.stdin.read())"


def test_a_helper_answers_and_ends():
    assert run_helper(ECHO, b"a question") == (b"a question", 0)
    assert run_helper("raise SystemExit(3)")[1] == 3


def test_a_helper_that_cannot_be_executed_answers_nothing(tmp_path):
    if sys.platform == "win32":
        with pytest.raises(FileNotFoundError):
            Helper((str(tmp_path / "none"),), {})
        return
    helper = Helper((str(tmp_path / "none"),), {})
    helper.ask(b"question")
    assert helper.end(10) == 127
    assert helper.read() == b""
    helper.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals, descriptors and pipes of Linux")
class TestOnLinux:
    def test_a_request_longer_than_a_pipe_arrives(self):
        question = b"x" * 500_000
        assert run_helper(ECHO, question) == (question, 0)

    def test_it_has_three_descriptors_and_our_session_only_if_it_may(self):
        inherited = os.open(os.devnull, os.O_RDONLY)
        os.set_inheritable(inherited, True)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.getsid(0))"
        assert run_helper(code)[0].split(b"] ") == [b"[0, 1, 2", b"%d\n" % os.getsid(0)]
        own = int(run_helper(code, own_session=True)[0].split(b"] ")[1])
        assert own != os.getsid(0)
        os.close(inherited)

    def test_its_signals_are_those_of_a_new_program(self):
        code = "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))])"
        output, _ = run_helper(code)
        blocked, ignored = (int(line.split("\t")[1][:16], 16) for line in eval(output))
        own = int(re.search(r"SigIgn:\t(\w+)", Path("/proc/self/status").read_text())[1], 16)
        assert not ignored & ~(own | 1 << 12 | 1 << 24), "SIGPIPE and SIGXFSZ: by the interpreter"
        assert blocked == sum(1 << (number - 1) for number in (20, 21, 22))

    def test_one_that_is_terminated_may_end_in_its_way(self):
        helper = Helper(
            (sys.executable, "-c", "import signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})\n"
             "print('on', flush=True)\nsignal.sigwait({15})\nsys.exit(4)"), {},
        )  # fmt: skip
        while helper.read() is None:
            time.sleep(0.001)
        helper.terminate()
        assert helper.end(10) == 4
        helper.kill()  # it has ended: no other process is meant
        helper.close()
