"""`--capture-exit`: a worker that traces the command to its end and dumps it on its way out."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from perimortem.dump import worker_environment
from perimortem.dump.naming import partial_path
from perimortem.dump.protocol import DumpRequest, decode_result, encode_request
from perimortem.model.dump import BULK_TYPES, DumpOptions, DumpResult
from perimortem.model.incident import Incident
from perimortem.model.verdict import Verdict
from perimortem.monitor.dump_workers import WORKER, choose_interpreter
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.loop import Monitor
from perimortem.monitor.session import Session, dump_path
from perimortem.proc import estimate_dump_bytes
from perimortem.recorder import recorder_path
from perimortem.store.ledger import Refusal, Reservation
from perimortem.system import Helper

_PATIENCE_S = 2.0
_ANSWER_MAX = 1 << 20


class ExitCatcher:
    """One worker for one session."""

    def __init__(
        self, monitor: Monitor, session: Session, keeper: Keeper, options: DumpOptions, unix_s: int
    ) -> None:
        self._monitor = monitor
        self._session = session
        self._keeper = keeper
        self._options = options
        self._worker: Helper | None = None
        self._answer = b""
        self._path = dump_path(monitor.settings.dumps_dir, session, unix_s, options)
        self._reservation = self._begin()

    @property
    def pids(self) -> set[int]:
        return {self._worker.pid} if self._worker is not None else set()

    def drop_if_clean(self, incident: Incident) -> Incident:
        """Nobody asks for the dump of an end that was clean."""
        if incident.verdict is not Verdict.CLEAN_EXIT:
            return incident
        for dump in self._session.dumps:
            if dump.path is not None:
                with contextlib.suppress(OSError):
                    Path(dump.path).unlink()
        self._session.dumps = []
        if self._reservation is not None:
            self._keeper.forget_dump(self._reservation)
        return replace(incident, dumps=())

    def close(self) -> None:
        """The watch is over; a target that still lives runs on, traced by nobody."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._monitor.selector.unregister(worker.waitable())
            worker.end(0)

    def _begin(self) -> Reservation | None:
        session = self._session
        is_full = bool(self._options.types & BULK_TYPES)
        expected = estimate_dump_bytes(session.pid, is_full=is_full)
        # How large it will be by then nobody knows.
        signature = f"{session.target.name}: its end"
        leave = self._keeper.reserve_dump(signature, expected, may_grow=True)
        if isinstance(leave, Refusal):
            session.soft_errors.append(f"not dumped at its end: {leave.why}")
            return None
        request = DumpRequest(
            session.target.ref,
            self._path,
            self._options,
            leave.size_limit_bytes,
            at_exit=True,
            recorder=recorder_path(self._monitor.settings.run_dir, session.target.ref),
        )
        try:
            worker = Helper(
                [choose_interpreter(), "-I", "-S", str(WORKER)], worker_environment(os.environ)
            )
        except OSError as error:
            session.soft_errors.append(f"not dumped at its end: {error.strerror}")
            return leave
        self._worker = worker
        session.is_dumped_at_end = True
        self._monitor.selector.register(worker.waitable(), lambda _now_ns: self._read(worker))
        worker.ask(encode_request(request))
        return leave

    def _read(self, worker: Helper) -> None:
        part = worker.read()
        if part is None:
            return
        self._answer += part
        if part and len(self._answer) <= _ANSWER_MAX:
            return
        self._monitor.selector.unregister(worker.waitable())
        self._worker = None
        status = worker.end(_PATIENCE_S)
        self._answer += worker.rest[:_ANSWER_MAX]
        with contextlib.suppress(OSError):
            partial_path(self._path, worker.pid).unlink(missing_ok=True)
        try:
            result = decode_result(self._answer)
        except ValueError:
            why = f"the dump worker died (status {status})"
            result = DumpResult(None, self._options.types, 0, 0.0, 0, (), why)
        if result.path is not None:
            self._session.dumps.append(result)
        else:
            self._session.soft_errors.append(f"not dumped at its end: {result.error}")
        self._session.is_dumped_at_end = False
        if self._reservation is not None:
            self._keeper.settle_dump(self._session, self._reservation, result)
        self._monitor.finish_waiting()
