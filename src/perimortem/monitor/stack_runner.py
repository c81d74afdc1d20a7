"""Run a debugger on a hung target for its stacks, without waiting for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from perimortem.model.process import Target
from perimortem.proc import is_stopped
from perimortem.stacks.external import NO_TOOL, StackTool, choose_stack_tool, clean_stacks
from perimortem.system import Helper, Selector, let_run

_OUTPUT_MAX = 4 << 20
_PATIENCE_S = 0.2

Done = Callable[[str | None, str], None]
"""done(stacks or None, the tool's name or why there are none)"""


@dataclass
class _Job:
    target: Target
    tool: StackTool
    helper: Helper
    deadline_ns: int
    done: Done
    was_stopped: bool
    output: bytes = b""


class StackRunner:
    """At most one tool for each target at a time."""

    def __init__(self, selector: Selector, deadline_s: float) -> None:
        self._selector = selector
        self._deadline_ns = int(deadline_s * 1e9)
        self._jobs: list[_Job] = []

    def request(self, target: Target, done: Done, now_ns: int) -> None:
        """Collect the stacks of ``target``; ``done`` is called from the loop."""
        tool = choose_stack_tool(target.ref.pid, target.executable)
        if tool is None:
            done(None, NO_TOOL)
            return
        was_stopped = is_stopped(target.ref)
        try:
            helper = Helper(tool.argv, _tool_environment(), own_session=True)
        except OSError as error:
            done(None, f"{tool.name} cannot be started: {error.strerror}")
            return
        helper.ask(b"")
        job = _Job(target, tool, helper, now_ns + self._deadline_ns, done, was_stopped)
        self._jobs.append(job)
        self._selector.register(helper.waitable(), lambda _now_ns: self._serve(job))

    def is_busy_with(self, pid: int) -> bool:
        return any(job.target.ref.pid == pid for job in self._jobs)

    def pids(self) -> set[int]:
        """The tools that run."""
        return {job.helper.pid for job in self._jobs}

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
        part = job.helper.read()
        if part is None:
            return
        job.output += part
        if not part or len(job.output) > _OUTPUT_MAX:
            self._finish(job, "")

    def _finish(self, job: _Job, why: str) -> None:
        self._jobs.remove(job)
        self._selector.unregister(job.helper.waitable())
        status = job.helper.end(_PATIENCE_S)
        if not job.was_stopped and is_stopped(job.target.ref):
            let_run(job.target.ref.pid)  # a tool that went wrong
        text = clean_stacks(job.tool.name, job.output.decode("utf-8", "replace"))
        if why:
            job.done(None, f"{job.tool.name} {why}")
        elif status != 0 or not text.strip():
            job.done(None, f"{job.tool.name} could not read the stacks")
        else:
            job.done(text, job.tool.name)


def _tool_environment() -> dict[str, str]:
    """Without what a monitor above us may have preloaded: nothing that we start is watched."""
    environment = {**os.environ, "DEBUGINFOD_URLS": "", "LC_ALL": "C"}
    environment.pop("LD_PRELOAD", None)
    return environment
