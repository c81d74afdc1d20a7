"""Demangle a name that may be a bomb: in a child that has little time and memory, and may die of it.

The child is kept for further names. It limits itself, since we may not be allowed to kill it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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
    import socket

    _TIME_S = 0.5
    _MEMORY_BYTES = 64 << 20
    _ANSWER_MAX = 1 << 20

    class _Child:
        def __init__(self, demangle: Demangle) -> None:
            """Raises OSError."""
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._pid = os.fork()
            if self._pid == 0:
                ours.close()
                _serve(demangle, its)
            its.close()
            self._socket = ours

        def ask(self, name: str) -> str | None:
            """None: it has died of that, or cannot read it."""
            try:
                os.write(self._socket.fileno(), name.encode())
                answer = os.read(self._socket.fileno(), _ANSWER_MAX).decode()
            except (OSError, ValueError):
                answer = ""
            return answer or None

        def end(self) -> None:
            self._socket.close()
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

    def _serve(demangle: Demangle, requests: socket.socket) -> None:
        """The child: never returns."""
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            with open("/proc/self/statm", "rb") as file:
                now_bytes = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
            limit = now_bytes + _MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            fd = requests.fileno()
            while name := os.read(fd, _ANSWER_MAX):
                signal.setitimer(signal.ITIMER_REAL, _TIME_S)
                answer = demangle(name.decode()).encode()
                signal.setitimer(signal.ITIMER_REAL, 0)
                os.write(fd, answer[:_ANSWER_MAX])
        finally:
            os._exit(0)
