"""``spawn_and_attach()``: from now on the crashes of this program are dumped by a monitor."""

from __future__ import annotations

import ctypes
import logging
import sys
from types import TracebackType
from typing import Self

from perimortem.agent.session import open_native

_log = logging.getLogger("perimortem")


class _Options(ctypes.Structure):
    """perimortem_options of perimortem.h"""

    _fields_ = (
        ("monitor_command", ctypes.POINTER(ctypes.c_char_p)),
        ("connect_timeout_s", ctypes.c_double),
        ("answer_timeout_s", ctypes.c_double),
    )


class Guard:
    """Holds the crash handler; released once, by :meth:`release` or at the end of a ``with``."""

    def __init__(self, library: ctypes.CDLL | None, guard: int | None, error: str) -> None:
        self.error = error
        """Why no monitor is notified of crashes; empty if one is."""
        self._library = library
        self._guard = guard

    @property
    def is_attached(self) -> bool:
        return self._guard is not None

    def release(self) -> None:
        """Remove the crash handler; a second call does nothing."""
        if self._library is not None and self._guard is not None:
            self._library.perimortem_release(self._guard)
        self._guard = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.release()


def spawn_and_attach(
    *,
    monitor_command: tuple[str, ...] | None = None,
    connect_timeout: float = 0.0,
    answer_timeout: float = 0.0,
) -> Guard:
    """Find or start the monitor, and have the crashes of this process reported to it.

    ``monitor_command``: program and first arguments of the monitor; defaults to this Python with
    ``-P -m perimortem``. Times are in seconds, 0 takes the default (5 to connect, 10 to dump a crash).
    Never raises: ``Guard.error`` says why it did not work, and so does one line on stderr.
    """
    try:
        native = open_native()
        if native is None:
            return Guard(None, None, "the C library is not built")
        library = native.library
        library.perimortem_spawn_and_attach.restype = ctypes.c_void_p
        library.perimortem_spawn_and_attach.argtypes = (ctypes.POINTER(_Options),)
        library.perimortem_release.argtypes = (ctypes.c_void_p,)
        library.perimortem_attach_error.restype = ctypes.c_char_p
        # -P: the current directory may be another user's, with another perimortem in it.
        words = monitor_command or (sys.executable, "-P", "-m", "perimortem")
        command = (ctypes.c_char_p * (len(words) + 1))(*(_encode(word) for word in words), None)
        options = _Options(command, float(connect_timeout), float(answer_timeout))
        guard = library.perimortem_spawn_and_attach(ctypes.byref(options))
        said = library.perimortem_attach_error()
        return Guard(library, guard, "" if guard else (said or b"").decode("utf-8", "replace"))
    except Exception as error:  # noqa: BLE001 - never into the program
        _log.debug("spawn_and_attach failed", exc_info=True)
        return Guard(None, None, str(error))


def _encode(word: str) -> bytes:
    return word.encode(sys.getfilesystemencoding(), "surrogateescape")
