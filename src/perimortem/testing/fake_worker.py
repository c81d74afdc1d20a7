"""Workers that answer what a test makes them answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perimortem.testing.fake_selector import FakeSelector


class FakeWorker:
    """Implements ``monitor.workers.Worker``."""

    def __init__(self, selector: FakeSelector, argv: Sequence[str], pid: int) -> None:
        self.argv = tuple(argv)
        self.pid = pid
        self.question: bytes | None = None
        """Its request; None while it is a spare."""
        self.status: int | None = None
        """None while it runs."""
        self.was_killed = False
        self.ignores_terminate = False
        self.ignores_kill = False
        self.is_closed = False
        self._selector = selector
        self._waitable = selector.new_waitable()
        self._output: list[bytes] = []

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        if not self.ignores_terminate:
            self.kill()

    def answer(self, output: bytes) -> None:
        """It writes its answer and ends well."""
        self._output += [output, b""]
        self.status = 0
        self._selector.make_ready(self._waitable)
        self._selector.make_ready(self._waitable)

    def die(self, status: int = -9, output: bytes = b"") -> None:
        """It ends, perhaps in the middle of its answer."""
        self._output += [output, b""] if output else [b""]
        self.status = status
        for _ in self._output:
            self._selector.make_ready(self._waitable)

    def waitable(self) -> int:
        return self._waitable

    def ask(self, question: bytes) -> None:
        assert self.question is None, "asked twice"
        self.question = question
        if not question:
            self.status = 0

    def read(self) -> bytes | None:
        return self._output.pop(0) if self._output else None

    def kill(self) -> None:
        if self.status is None and not self.ignores_kill:
            self.was_killed = True
            self.die()

    def end(self, patience_s: float) -> int:
        self.kill()
        return -1 if self.status is None else self.status

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class FakeLauncher:
    """Starts fake workers (``monitor.workers.Launch``), and knows them all."""

    def __init__(self, selector: FakeSelector) -> None:
        self.started: list[FakeWorker] = []
        self.error: OSError | None = None
        """Raised at the next start."""
        self._selector = selector

    def __call__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, own_session: bool
    ) -> FakeWorker:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        worker = FakeWorker(self._selector, argv, 5_000_000 + len(self.started))
        self.started.append(worker)
        return worker

    def list_asked(self, program: str) -> list[FakeWorker]:
        """Those of ``program`` (the end of its path) that got a request and have not ended."""
        return [
            worker
            for worker in self.started
            if worker.question is not None
            and worker.status is None
            and worker.argv[-1].replace("\\", "/").endswith(program)
        ]
