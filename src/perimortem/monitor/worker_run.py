"""One worker at one job, from its request to its end. Its end is waited for as an event, too."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.monitor.jobs import Answer, Job, Worker
from perimortem.monitor.timers import Timers
from perimortem.system import Selector

_TERMINATE_PATIENCE_S = 2.0
"""A worker that is terminated lets its target run on, and ends."""
_KILL_PATIENCE_S = 1.0
_CHECK_FIRST_NS = 1_000_000
"""It has closed its output and is about to end: when we look again; doubled each time."""
_CHECK_MOST_NS = 32_000_000

Over = Callable[["WorkerRun", Answer], None]
"""over(run, answer): the worker has ended; called once, unless the run was closed."""


class WorkerRun:
    """Begun when it is built."""

    def __init__(
        self,
        job: Job,
        worker: Worker,
        question: bytes,
        selector: Selector,
        timers: Timers,
        now_ns: Callable[[], int],
        over: Over,
    ) -> None:
        self.job = job
        self.is_cancelled = False
        self._worker = worker
        self._selector = selector
        self._timers = timers
        self._now_ns = now_ns
        self._over = over
        self._output = b""
        self._why: str | None = None
        """Why we end it."""
        self._urges = [(worker.terminate, _TERMINATE_PATIENCE_S), (worker.kill, _KILL_PATIENCE_S)]
        """What is left to make it end, and how long each may take."""
        self._is_listening = True
        # Keys of timers stay in their heap until they would have been due: they hold nothing.
        self._due_key, self._check_key = object(), object()
        self._check_pause_ns = _CHECK_FIRST_NS
        selector.register(worker.waitable(), self._read)
        if job.deadline_s is not None:
            self._arm(job.deadline_s, lambda _now_ns: self._end("took too long and was ended"))
        worker.ask(question)

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._worker.pid

    def cancel(self) -> None:
        """Have it end; its answer is not wanted."""
        self.is_cancelled = True
        self._end("was cancelled")

    def begin_close(self) -> None:
        """The watch is over: nothing but :meth:`close` follows."""
        self._stop_waiting()
        self._why = self._why or "was ended with the watch"
        self._worker.terminate()

    def close(self) -> Answer:
        """Waits for its end."""
        status = self._worker.end(_TERMINATE_PATIENCE_S)
        return self._take_answer(status)

    def _read(self, now_ns: int) -> None:
        if not self._is_listening:
            return  # it ended by another event of the same moment
        part = self._worker.read()
        if part is None:
            return
        if not part:
            self._await_end(now_ns)
            return
        if not self._keep(part):
            self._end("wrote too much output and was ended")
        elif self._why is None:
            self.job.on_output(self._output)

    def _keep(self, part: bytes) -> bool:
        """False if it is too much."""
        most = self.job.kind.answer_max_bytes
        self._output += part[: most - len(self._output) + 1]
        return len(self._output) <= most

    def _await_end(self, now_ns: int) -> None:
        """It has answered, or died."""
        self._stop_listening()
        if self._why is None:
            self._arm(self.job.kind.patience_s, self._urge)
        self._check(now_ns)

    def _check(self, now_ns: int) -> None:
        status = self._worker.poll()
        if status is not None:
            self._finish(status)
            return
        self._timers.arm(self._check_key, now_ns + self._check_pause_ns, self._check)
        self._check_pause_ns = min(2 * self._check_pause_ns, _CHECK_MOST_NS)

    def _end(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._urge(self._now_ns())

    def _urge(self, _now_ns: int) -> None:
        if not self._urges:
            self._finish(-1)  # stuck in the kernel, perhaps on a failing disk: it ends later
            return
        urge, patience_s = self._urges.pop(0)
        urge()
        self._arm(patience_s, self._urge)

    def _arm(self, patience_s: float, call: Callable[[int], None]) -> None:
        """The one thing that is due if it does not end before."""
        self._timers.arm(self._due_key, self._now_ns() + int(patience_s * 1e9), call)

    def _finish(self, status: int) -> None:
        self._stop_waiting()
        self._over(self, self._take_answer(status))

    def _take_answer(self, status: int) -> Answer:
        while part := self._worker.read():
            self._keep(part)
        self._worker.close()
        name = self.job.kind.name
        failure = None if self._why is None else f"{name} {self._why} (status {status})"
        return Answer(self._output, failure, status, self._worker.pid)

    def _stop_waiting(self) -> None:
        self._stop_listening()
        self._timers.disarm(self._due_key)
        self._timers.disarm(self._check_key)

    def _stop_listening(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._selector.unregister(self._worker.waitable())
