"""Run a debugger on a hung target for its stacks, without waiting for it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.model.process import Target
from perimortem.monitor.helper import start_helper
from perimortem.proc.stat import read_stat
from perimortem.stacks.external import StackTool, choose_stack_tool, clean_stacks

_OUTPUT_MAX = 4 << 20

Done = Callable[[str | None, str], None]
"""done(stacks or None, the tool's name or why there are none)"""


@dataclass
class _Job:
    target: Target
    tool: StackTool
    popen: subprocess.Popen[bytes]
    deadline_ns: int
    done: Done
    was_stopped: bool
    output: bytes = b""


class StackRunner:
    """At most one tool for each target at a time."""

    def __init__(self, selector: selectors.BaseSelector, deadline_s: float) -> None:
        self._selector = selector
        self._deadline_ns = int(deadline_s * 1e9)
        self._jobs: list[_Job] = []

    def request(self, target: Target, done: Done, now_ns: int) -> None:
        """Collect the stacks of ``target``; ``done`` is called from the loop."""
        tool = choose_stack_tool(target.ref.pid, target.executable)
        if tool is None:
            done(None, "no tool for stacks is installed (gdb, pystack or eu-stack)")
            return
        facts = read_stat(target.ref.pid)
        was_stopped = facts is not None and facts.state == "T"
        try:
            popen = start_helper(
                tool.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_tool_environment(),
                start_new_session=True,  # Ctrl-C is for the target
            )
        except OSError as error:
            done(None, f"{tool.name} cannot be started: {error.strerror}")
            return
        assert popen.stdout is not None
        job = _Job(target, tool, popen, now_ns + self._deadline_ns, done, was_stopped)
        self._jobs.append(job)
        os.set_blocking(popen.stdout.fileno(), False)
        self._selector.register(
            popen.stdout.fileno(), selectors.EVENT_READ, lambda _now_ns: self._serve(job)
        )

    def is_busy_with(self, pid: int) -> bool:
        return any(job.target.ref.pid == pid for job in self._jobs)

    def pids(self) -> set[int]:
        """The tools that run."""
        return {job.popen.pid for job in self._jobs}

    def next_deadline_ns(self) -> int | None:
        return min((job.deadline_ns for job in self._jobs), default=None)

    def expire(self, now_ns: int) -> None:
        for job in list(self._jobs):
            if job.deadline_ns <= now_ns:
                self._finish(job, "took too long and was ended")

    def close(self) -> None:
        for job in list(self._jobs):
            self._finish(job, "was ended with the watch")

    def _serve(self, job: _Job) -> None:
        assert job.popen.stdout is not None
        try:
            part = os.read(job.popen.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        job.output += part
        if not part or len(job.output) > _OUTPUT_MAX:
            self._finish(job, "")

    def _finish(self, job: _Job, why: str) -> None:
        self._jobs.remove(job)
        assert job.popen.stdout is not None
        self._selector.unregister(job.popen.stdout.fileno())
        _end(job.popen)
        job.popen.stdout.close()
        if not job.was_stopped:
            _leave_running(job.target)
        text = clean_stacks(job.tool.name, job.output.decode("utf-8", "replace"))
        if why:
            job.done(None, f"{job.tool.name} {why}")
        elif job.popen.returncode != 0 or not text.strip():
            job.done(None, f"{job.tool.name} could not read the stacks")
        else:
            job.done(text, job.tool.name)


def _tool_environment() -> dict[str, str]:
    """Without what a monitor above us may have preloaded: nothing that we start is watched."""
    environment = {**os.environ, "DEBUGINFOD_URLS": "", "LC_ALL": "C"}
    environment.pop("LD_PRELOAD", None)
    return environment


def _end(popen: subprocess.Popen[bytes]) -> None:
    """First a polite word: a debugger that is killed may leave its target stopped."""
    try:
        popen.wait(timeout=0.2)
        return
    except subprocess.TimeoutExpired:
        popen.terminate()
    try:
        popen.wait(timeout=2)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()


def _leave_running(target: Target) -> None:
    """A tool that went wrong must not leave a target stopped that ran before."""
    facts = read_stat(target.ref.pid)
    if facts and facts.state == "T" and facts.start_time_ticks == target.ref.start_time_ticks:
        try:
            fd = os.pidfd_open(target.ref.pid)
        except OSError:
            return
        try:
            signal.pidfd_send_signal(fd, signal.SIGCONT)
        finally:
            os.close(fd)
