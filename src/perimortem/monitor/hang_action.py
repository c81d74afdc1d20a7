"""What is done about a hang once it has been looked into: nothing, unless --on-hang asks for it."""

from __future__ import annotations

import contextlib
import os

from perimortem.analyze.observations import Request
from perimortem.exits.signals import SIGABRT, SIGKILL
from perimortem.model.exits import Sender
from perimortem.monitor.session import Session
from perimortem.monitor.settings import OnHang
from perimortem.proc import own_uid

_ABORT_PATIENCE_NS = 10_000_000_000
"""A target that has not ended of SIGABRT by then is killed."""


class HangAction:
    """Ends hung targets as asked: by SIGABRT, then SIGKILL for those that outlive it; or at once."""

    def __init__(self, choice: OnHang) -> None:
        self._choice = choice
        self._aborted: list[tuple[int, Session]] = []
        """(when it is killed, whom)"""

    def act(self, session: Session, now_ns: int) -> None:
        """Its dump and stacks have been taken."""
        if self._choice is OnHang.ABORT:
            self._aborted.append((now_ns + _ABORT_PATIENCE_NS, session))
            _end(session, SIGABRT, now_ns)
        elif self._choice is OnHang.KILL:
            _end(session, SIGKILL, now_ns)

    def next_deadline_ns(self) -> int | None:
        return min((due_ns for due_ns, _ in self._aborted), default=None)

    def expire(self, now_ns: int) -> None:
        """Kill whom the abort did not end."""
        late = [session for due_ns, session in self._aborted if due_ns <= now_ns]
        self._aborted = [(d, s) for d, s in self._aborted if d > now_ns and s.ended_ns is None]
        for session in late:
            _end(session, SIGKILL, now_ns)


def _end(session: Session, number: int, now_ns: int) -> None:
    """The hung process, and the one that it waits for."""
    record = session.open_hang
    if record is None or session.ended_ns is not None:
        return
    sender = Sender(os.getpid(), own_uid(), "perimortem")
    for hung in {id(s): s for s in (record.examined, session)}.values():
        hung.requests.append(Request(number, sender, now_ns, False, by_policy=True))
        hung.ended_by_policy = True
        if hung.ended_ns is None:
            with contextlib.suppress(OSError):
                hung.exit_watch.end(politely=number == SIGABRT)
