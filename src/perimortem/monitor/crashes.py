"""What is done about a crash while the process still stands in its handler: note, dump, answer.

What it told is in its recorder by now, and goes into the store while a worker takes the dump. A crash of
a process is dumped once: whoever repeats himself gets the first answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perimortem.analyze.crash import derive_signature
from perimortem.exits.signals import SIGABRT
from perimortem.model.crash import Crash
from perimortem.model.exits import Sender
from perimortem.monitor.session import Session
from perimortem.proc import guess_caller, list_numbers, read_stat, renew_process_info
from perimortem.text import printable
from perimortem.wire.layout import Outcome

if TYPE_CHECKING:
    from perimortem.monitor.loop import Monitor

Answer = Callable[[Outcome], None]


class Crashes:
    """Takes crashes of the monitor's targets."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._waiting: dict[int, list[Answer]] = {}
        """By the id of a session: who waits for its dump."""

    def take(self, session: Session, crash: Crash, answer: Answer) -> None:
        """``answer`` is called once, now or when the dump is there."""
        waiting = self._waiting.get(id(session))
        if waiting is not None:
            waiting.append(answer)
            return
        if session.crash is not None:
            answer(_outcome(session))
            return
        session.target = renew_process_info(session.target)
        session.crash = crash
        session.crash_sender = _find_sender(session.pid, crash)
        self._waiting[id(session)] = [answer]
        session.is_answer_due = True
        # Every abort() is at one place of the C library.
        caller = guess_caller(session.pid, crash.stack_pointer) if crash.code == SIGABRT else None
        self._monitor.dumper.request(
            session,
            derive_signature(session.target.name, crash, caller),
            lambda: self._finish(session),
            crash=crash,
        )
        if session.is_answer_due:  # while the worker is at it
            self._monitor.keep_so_far(session)

    def _finish(self, session: Session) -> None:
        session.is_answer_due = False
        outcome = _outcome(session)
        for answer in self._waiting.pop(id(session)):
            answer(outcome)
        # The process goes on before we do anything else; it has waited long enough.
        self._monitor.crash_dumped(session)


def _outcome(session: Session) -> Outcome:
    return Outcome.OK if any(dump.path for dump in session.dumps) else Outcome.NO_DUMP


def _find_sender(pid: int, crash: Crash) -> Sender | None:
    """The other process that sent the signal. It may live in another namespace (0), or be gone."""
    numbers = list_numbers(pid)
    if crash.sender_pid is None or crash.sender_pid in numbers | {0}:
        return None
    facts = read_stat(crash.sender_pid) if len(numbers) == 1 else None
    name = printable(facts.name) if facts else None
    return Sender(crash.sender_pid, crash.sender_uid, name)
