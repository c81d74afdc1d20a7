"""Reads that may never be answered: done by a child, and waited for a short time (decision 0024).

What is not known in time is left unknown, and asked again later. A child that has not answered for a
second is killed and replaced; if not even that ends it, it is left where it waits.
"""

from __future__ import annotations

import select
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

assert sys.platform == "linux"

import msgspec

from perimortem.clock import Clock
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.proc import identify_process, read_stat, renew_process_info
from perimortem.reading.met import Met
from perimortem.system import Leaving, Service

PATIENCE_S = 0.03
"""In the loop, which pauses for that long. An answer takes 0.1 ms."""
_STARVED_NS = 300_000_000
"""For so long it is waited for beyond that, while the child could answer and has no processor."""
_SLICE_NS = 10_000_000
_STARVED_PART = 4
"""A fourth of that counts as waiting for an answer."""
_FREE_NS = 2_000_000
"""What an answer may take without being counted as waiting."""
_CREDIT_MAX_NS = 60_000_000
_CREDIT_MIN_NS = 10_000_000
_CREDIT_PART = 5
"""A fifth of the time may be spent waiting, so that many slow answers are no long pause."""
_STUCK_NS = 1_000_000_000
"""A child that has not answered for so long is given up."""
_SILENT_NS = 10_000_000_000
"""How long a process that did not answer is left alone."""
_SILENT_MAX = 10_000
_STUCK_MAX = 8
"""Children that not even SIGKILL ends. Then nothing more is read until one of them has ended."""
_CACHED_MAX = 256
_LINE_MAX = 4 << 20
_SERVICE = "perimortem.reading.linux.process_reads"


@dataclass(frozen=True)
class _Question:
    """Asked, and not answered yet."""

    key: int | str
    asked_ns: int
    keep: Callable[[bytes], None] | None = None
    """Takes an answer that is not waited for."""


class ProcessReader:
    """For one monitor. The child is started by the first question, or before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._service: Service | None = None
        self._received = b""
        self._questions: deque[_Question] = deque()
        self._leaving = Leaving()
        self._silent: dict[int | str, int] = {}
        """Until when what did not answer is left alone (pid, or a path)."""
        self.starved_ns = 0
        """How long in all the child had no processor while it was waited for."""
        self._credit_ns = _CREDIT_MAX_NS
        self._credited_ns = clock.monotonic_ns()
        self._leaves: dict[str, bool] = {}

    def warm_up(self) -> None:
        """So that the first answer need not wait for the start of the child."""
        if self._service is None and self._open():
            self._send(0, "read_change", "/")

    def pids(self) -> set[int]:
        """Children that may not be reaped yet."""
        return self._leaving.pids() | ({self._service.pid} if self._service is not None else set())

    def meet(
        self, process: ProcessRef, variables: tuple[str, ...], patience_s: float = PATIENCE_S
    ) -> Met:
        """Name, program and command line, and of its environment these ``variables``."""
        arguments = (process.pid, process.start_time_ticks, variables)
        met: Met | None
        met = self._ask(process.pid, Met, "meet", *arguments, patience_s=patience_s)
        if met is None:
            return Met(identify_process(process), {})
        self.look_at_program(process.pid, met.info.executable)
        return met

    def collect_process_info(
        self, process: ProcessRef, patience_s: float = PATIENCE_S
    ) -> ProcessInfo:
        """Name, program and command line; the command line is empty if it could not be read in time."""
        return self.meet(process, (), patience_s).info

    def renew_process_info(self, target: ProcessInfo) -> ProcessInfo:
        """The same process under its current name, and with its command line if that was unknown."""
        return renew_process_info(target, self.collect_process_info)

    def read_variables(self, pid: int, names: tuple[str, ...]) -> dict[str, str]:
        return self._ask(pid, dict[str, str], "read_variables", pid, names) or {}

    def guess_caller(self, pid: int, stack_pointer: int) -> tuple[str, int] | None:
        found: tuple[str, int] | None
        found = self._ask(pid, tuple[str, int] | None, "guess_caller", pid, stack_pointer)
        return found

    def find_module(self, pid: int, address: int) -> tuple[str, int] | None:
        found: tuple[str, int] | None
        found = self._ask(pid, tuple[str, int] | None, "find_module", pid, address)
        return found

    def maps_file(self, pid: int, inode: int, part: str) -> bool:
        """True if that is not known."""
        return self._ask(pid, bool, "maps_file", pid, inode, part) is not False

    def look_at_program(self, pid: int, executable: str | None) -> None:
        """While it lives: when it ends, its file may be deleted, or another one.

        For :meth:`leaves_by_own_system_call`; the answer is not waited for."""
        if executable is None or executable in self._leaves:
            return
        if self._silent.get(executable, 0) <= self._clock.monotonic_ns():
            keep = partial(self._take_leaves, executable)
            self._send(executable, "leaves_by_own_system_call", pid, keep=keep)

    def leaves_by_own_system_call(self, executable: str | None) -> bool | None:
        """None if that is not known."""
        if executable is None:
            return None
        if executable not in self._leaves:
            self._take_answers()
        if executable not in self._leaves:
            leaves: bool | None
            leaves = self._ask(executable, bool | None, "leaves_by_own_system_call", executable)
            if executable not in self._leaves:
                self._note_leaves(executable, leaves)
        return self._leaves.get(executable)

    def _take_leaves(self, executable: str, line: bytes) -> None:
        self._note_leaves(executable, msgspec.json.decode(line, type=bool | None))

    def _note_leaves(self, executable: str, leaves: bool | None) -> None:
        if leaves is not None:
            if len(self._leaves) >= _CACHED_MAX:
                self._leaves.clear()
            self._leaves[executable] = leaves

    def read_change(self, path: str) -> tuple[int, int, int] | None:
        found: tuple[int, int, int] | None
        found = self._ask(path, tuple[int, int, int] | None, "read_change", path)
        return found

    def close(self) -> None:
        """The child ends when it is done with what it was asked, if it ever is."""
        if self._service is not None:
            self._service.end(0)
            self._leaving.add(self._service)
            self._service = None

    def _ask(
        self,
        key: int | str,
        wanted: Any,
        name: str,
        *arguments: object,
        patience_s: float = PATIENCE_S,
    ) -> Any:
        """None: not known in time."""
        begin_ns, starved_ns = self._clock.monotonic_ns(), self.starved_ns
        patience_ns = self._choose_patience(begin_ns, int(patience_s * 1e9))
        self._give_up_stuck(begin_ns)
        if self._silent.get(key, 0) > begin_ns or not patience_ns or not self._open():
            return None
        question = self._send(key, name, *arguments)
        line = self._await_answer(question, begin_ns + patience_ns)
        starved_ns = self.starved_ns - starved_ns
        took_ns = self._clock.monotonic_ns() - begin_ns - starved_ns
        self._credit_ns -= max(0, took_ns - _FREE_NS) + starved_ns // _STARVED_PART
        return None if line is None else msgspec.json.decode(line, type=wanted)

    def _choose_patience(self, now_ns: int, wanted_ns: int) -> int:
        """0: too much time was spent waiting lately."""
        refill_ns = (now_ns - self._credited_ns) // _CREDIT_PART
        self._credit_ns = min(_CREDIT_MAX_NS, self._credit_ns + refill_ns)
        self._credited_ns = now_ns
        if wanted_ns > _CREDIT_MAX_NS:  # before the loop
            return wanted_ns
        return min(wanted_ns, self._credit_ns) if self._credit_ns >= _CREDIT_MIN_NS else 0

    def _open(self) -> bool:
        if self._service is None:
            if len(self._leaving) >= _STUCK_MAX:
                return False
            with suppress(OSError):
                self._service = Service(_SERVICE, None)
        return self._service is not None

    def _send(
        self,
        key: int | str,
        name: str,
        *arguments: object,
        keep: Callable[[bytes], None] | None = None,
    ) -> _Question:
        question = _Question(key, self._clock.monotonic_ns(), keep)
        self._questions.append(question)
        if self._service is not None:
            self._service.send(msgspec.json.encode((name, arguments)) + b"\n")
        return question

    def _await_answer(self, question: _Question, due_ns: int) -> bytes | None:
        """Answers to earlier questions come first, and too late. None: not in time."""
        while self._service is not None:
            line = self._sort_answers(question)
            if line is not None:
                return line
            now_ns = self._clock.monotonic_ns()
            if now_ns < due_ns:
                self._receive(self._service, due_ns - now_ns)
            elif now_ns < due_ns + _STARVED_NS and _has_no_processor(self._service.pid):
                self._receive(self._service, _SLICE_NS)
                self.starved_ns += self._clock.monotonic_ns() - now_ns
            else:
                return None
        return None

    def _take_answers(self) -> None:
        """Those that have come: without waiting for any."""
        while self._service is not None and self._receive(self._service, 0):
            self._sort_answers(None)

    def _sort_answers(self, question: _Question | None) -> bytes | None:
        """The answer to it, if it has come; earlier ones are kept where they are wanted."""
        while b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            answered = self._questions.popleft()
            if answered is question:
                return line
            if answered.keep is not None:
                answered.keep(line)
        return None

    def _receive(self, service: Service, timeout_ns: int) -> bool:
        """False: nothing has come in that time."""
        poll = select.poll()
        poll.register(service.waitable(), select.POLLIN)
        if not poll.poll(timeout_ns / 1e6):
            return False
        part = service.read()
        if part == b"" or len(self._received) > _LINE_MAX:
            self._drop()
        elif part is not None:
            self._received += part
        return True

    def _give_up_stuck(self, now_ns: int) -> None:
        """What was asked first keeps the child from the other questions."""
        if not self._questions or now_ns - self._questions[0].asked_ns < _STUCK_NS:
            return
        if self._service is not None and self._receive(self._service, 0):
            return  # it is only slow
        if len(self._silent) >= _SILENT_MAX:
            self._silent.clear()
        if self._questions:
            self._silent[self._questions[0].key] = now_ns + _SILENT_NS
        self._drop()

    def _drop(self) -> None:
        """Another child is started by the next question."""
        service, self._service = self._service, None
        self._questions.clear()
        self._received = b""
        if service is not None:
            service.kill()
            self._leaving.add(service)


def _has_no_processor(pid: int) -> bool:
    """It runs, or would run: nothing that it reads keeps it waiting."""
    facts = read_stat(pid)
    return facts is not None and facts.state == "R"
