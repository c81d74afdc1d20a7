"""How a crash is handled while the process waits in its crash handler: dump, answer, examine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perimortem.analysis.crash import derive_crash_key
from perimortem.exits.signals import SIGABRT
from perimortem.model.process import ProcessRef
from perimortem.monitor.dumps import Dumps, Taken, Wish
from perimortem.monitor.lifecycle import Awaited, Event
from perimortem.monitor.target import Target
from perimortem.monitor.work import Work
from perimortem.reading import ProcessReader
from perimortem.sandbox import find_user
from perimortem.sandbox.confinement import User

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination


class CrashEffects:
    """For one watch."""

    def __init__(
        self,
        work: Work,
        dumps: Dumps,
        reader: ProcessReader,
        answer_crash: Callable[[Target], None],
        *,
        collect_stacks: bool,
    ) -> None:
        """``answer_crash``: releases the process."""
        self._work = work
        self._dumps = dumps
        self._reader = reader
        self._answer_crash = answer_crash
        self._collect_stacks = collect_stacks
        self._taken: dict[ProcessRef, Taken] = {}
        self._users: dict[ProcessRef, User] = {}
        """Known as long as the process waits."""

    def dump(self, target: Target) -> None:
        crash = target.crash
        assert crash is not None
        # Every abort() has the same program counter, in the C library.
        caller = None
        if crash.code == SIGABRT:
            caller = self._reader.guess_caller(target.pid, crash.stack_pointer)
        key = derive_crash_key(target.process, crash, caller)
        user = find_user(target.pid)
        if user is not None:
            self._users[target.ref] = user

        def done(taken: Taken) -> None:
            taken.note_in(target)
            if taken.path is None:
                self._work.post(target, Event.CRASH_NOT_DUMPED)
            else:
                self._taken[target.ref] = taken
                self._work.post(target, Event.CRASH_DUMPED)

        wish = Wish(target, target.process, key, crash)
        cancel = self._dumps.take(wish, lambda: not target.is_alive, done)
        self._work.track(target, Awaited.CRASH_DUMP, cancel)

    def answer(self, target: Target) -> None:
        """Releases the process before anything else: it has waited long enough."""
        self._answer_crash(target)
        self._work.let_settle(target)

    def examine(self, target: Target) -> None:
        """The crash reason is read from its dump and reported with its end."""
        taken = self._taken.pop(target.ref)
        if taken.path is None or not self._collect_stacks:
            taken.discard_scratch()
            self._work.post(target, Event.CRASH_EXAMINED)
            return

        def done(document: Examination | None, why: str) -> None:
            taken.discard_scratch()
            if document is None:
                target.note_soft_error(f"its dump was not examined: {why}")
            else:
                target.note_examination(document)
            self._work.post(target, Event.CRASH_EXAMINED)

        user = self._users.pop(target.ref, None)
        self._work.examine(target, Awaited.CRASH_EXAMINATION, target.ref, taken.path, user, done)

    def forget(self, target: Target) -> None:
        """Cancels all work on it."""
        self._users.pop(target.ref, None)
        if target.ref in self._taken:
            self._taken.pop(target.ref).discard_scratch()
