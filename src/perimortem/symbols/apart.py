"""Demangle a name that may be a bomb: in a child that has little time and memory, and may die of it.

The child is kept for further names. It limits itself, since we may not be allowed to kill it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

_CHILDREN_MAX = 8
"""Names that may end one. Arbitrary."""
Demangle = Callable[[str], str]

if sys.platform == "win32":

    def demangle_apart(demangle: Demangle, name: str) -> str:
        """Unchanged: there is no fork."""
        return name

else:
    import resource
    import signal
    import struct

    _TIME_S = 0.5
    _MEMORY_BYTES = 64 << 20
    _TEXT_MAX = 1 << 20
    _LENGTH = struct.Struct("=I")

    class _Child:
        def __init__(self, demangle: Demangle) -> None:
            """Raises OSError."""
            its_input, ours = os.pipe()
            answers, its_output = os.pipe()
            self._pid = os.fork()
            if self._pid == 0:
                os.close(ours)
                os.close(answers)
                _serve(demangle, os.fdopen(its_input, "rb"), os.fdopen(its_output, "wb"))
            os.close(its_input)
            os.close(its_output)
            self._questions = os.fdopen(ours, "wb")
            self._answers = os.fdopen(answers, "rb")

        def ask(self, name: str) -> str | None:
            """None: it has died of that, or cannot read it."""
            try:
                _send(self._questions, name.encode())
                return _receive(self._answers).decode() or None
            except (OSError, ValueError):
                return None

        def end(self) -> None:
            with suppress(OSError):
                self._questions.close()
            self._answers.close()
            os.waitpid(self._pid, 0)

    _children: list[_Child] = []
    """All that were started; the last one serves."""

    def demangle_apart(demangle: Demangle, name: str) -> str:
        """Unchanged if that takes too much, or after too many such names. Raises OSError."""
        if not _children:
            _children.append(_Child(demangle))
        answer = _children[-1].ask(name)
        if answer is None and len(_children) < _CHILDREN_MAX:
            _children[-1].end()
            _children.append(_Child(demangle))
        return answer or name

    def _serve(demangle: Demangle, questions: BinaryIO, answers: BinaryIO) -> None:
        """The child: never returns."""
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            with open("/proc/self/statm", "rb") as file:
                now_bytes = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
            limit = now_bytes + _MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            while name := _receive(questions):
                signal.setitimer(signal.ITIMER_REAL, _TIME_S)
                answer = demangle(name.decode()).encode()
                signal.setitimer(signal.ITIMER_REAL, 0)
                _send(answers, answer)
        finally:
            os._exit(0)

    def _send(file: BinaryIO, text: bytes) -> None:
        text = text[:_TEXT_MAX]
        file.write(_LENGTH.pack(len(text)) + text)
        file.flush()

    def _receive(file: BinaryIO) -> bytes:
        """Empty at the end."""
        head = file.read(_LENGTH.size)
        return file.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
