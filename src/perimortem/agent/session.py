"""``attach()``: heartbeats and events from a Python program.

A beat is one store of the clock into the mapped recorder: no call into C, no system call. If the
recorder cannot be created (no library, no directory, disk full) everything here does nothing, and
``AgentSession.error`` says why.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from perimortem.agent.library import find_library

_log = logging.getLogger("perimortem")

_PYTHON_HEARTBEAT = "python"
_PYTHON_CADENCE_S = 1.0
_MAX_HEARTBEATS = 64
_BEATS_OFFSET = 512  # recorder.layout.BEATS_OFFSET; the agent imports nothing of the monitor

_monotonic_ns = time.monotonic_ns
_has_native_clock = sys.platform != "win32"
"""Python's clock is the recorder's; on Windows that depends on the Python version."""


class _Native:
    """The C library, loaded once. ``base`` is the address of the mapped recorder, or 0."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.perimortem_heartbeat.argtypes = (ctypes.c_char_p, ctypes.c_double)
        library.perimortem_extend.argtypes = (ctypes.c_int, ctypes.c_double)
        library.perimortem_emit.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        library.perimortem_recorder_path.restype = ctypes.c_char_p
        library.pmr_base.restype = ctypes.c_void_p
        error = library.perimortem_open()
        self.error = os.strerror(error) if error else ""
        self.base: int = library.pmr_base() or 0


_lock = threading.Lock()
_native: _Native | None = None
_native_pid = 0
_sessions: list[AgentSession] = []
_python_thread: threading.Thread | None = None


class AgentSession:
    """A named heartbeat of this process, with the other calls of ``perimortem.h``."""

    def __init__(self, name: str, threshold_s: float, native: _Native | None, error: str) -> None:
        self.name = name
        self.error = error
        """Why nothing is recorded; empty if recording works."""
        self._native = native
        self._threshold_s = threshold_s
        self._handle = -1
        # One 8-byte word. Until there is a recorder, beats go to a private word.
        self._word = memoryview(bytearray(8)).cast("Q")
        if native is not None:
            self._handle = native.library.perimortem_heartbeat(_text(name), float(threshold_s))
            is_registered = 0 <= self._handle < _MAX_HEARTBEATS and native.base
            if is_registered and _has_native_clock:
                address = native.base + _BEATS_OFFSET + 8 * self._handle
                word = (ctypes.c_ubyte * 8).from_address(address)
                self._word = memoryview(word).cast("B").cast("Q")
        _sessions.append(self)

    def beat(self) -> None:
        """Report progress."""
        if _has_native_clock:
            self._word[0] = _monotonic_ns()
        else:
            self._call("perimortem_beat")

    def emit(self, event: str, **payload: Any) -> None:
        """Write one event; ``payload`` becomes a JSON object of at most 456 bytes."""
        if self._native is None:
            return
        try:
            text = json.dumps(payload, default=str, separators=(",", ":"))
            self._native.library.perimortem_emit(_text(event), _text(text))
        except Exception:  # noqa: BLE001 - never into the program
            _log.debug("event %r was not written", event, exc_info=True)

    def heartbeat(self, name: str, threshold: float = 0.0) -> AgentSession:
        """One more heartbeat of this process, with its own threshold in seconds."""
        return AgentSession(name, threshold, self._native, self.error)

    def pause(self) -> None:
        """Stop judging it until :meth:`resume`: for a wait of unknown length."""
        self._call("perimortem_pause")

    def resume(self) -> None:
        """Judge it again, counting from now."""
        self._call("perimortem_resume")

    def extend(self, seconds: float) -> None:
        """Do not judge it for the next ``seconds``: for an operation of known length."""
        if self._native is not None:
            self._native.library.perimortem_extend(self._handle, float(seconds))

    def goodbye(self, status: int = 0) -> None:
        """This process is about to end on purpose; called automatically at a normal exit."""
        if self._native is not None:
            self._native.library.perimortem_goodbye(int(status))

    def close(self) -> None:
        """This heartbeat has ended on purpose and is no longer watched."""
        self._call("perimortem_retire")
        if self in _sessions:
            _sessions.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if kind is not None and not issubclass(kind, SystemExit):
            self.emit("python.exception", type=kind.__name__, message=str(error)[:200])
        self.close()

    def _call(self, function: str) -> None:
        if self._native is not None:
            getattr(self._native.library, function)(self._handle)

    def _detach(self) -> None:
        """In a forked child: the word belongs to the parent."""
        self._native = None
        self._handle = -1
        self._word = memoryview(bytearray(8)).cast("Q")


def attach(name: str = "main", threshold: float = 0.0) -> AgentSession:
    """Open this process's recorder and register the heartbeat ``name``.

    ``threshold`` is in seconds; 0 takes the monitor's default (10 s). A second heartbeat,
    ``python``, is beaten by a Python thread: it stops when a native call holds the GIL. Never raises.
    """
    try:
        native = open_native()
        if native is None:
            return AgentSession(name, threshold, None, "the C library is not built")
        if not native.base:
            return AgentSession(
                name, threshold, None, native.error or "no recorder in this process"
            )
        session = AgentSession(name, threshold, native, "")
        _start_python_heartbeat(native)
        return session
    except Exception as error:  # noqa: BLE001 - never into the program
        _log.debug("attach failed", exc_info=True)
        return AgentSession(name, threshold, None, str(error))


def attach_quietly(name: str, threshold: float) -> AgentSession | None:
    """Only a heartbeat, without the thread that beats ``python``; None without a recorder."""
    try:
        native = open_native()
        return AgentSession(name, threshold, native, "") if native and native.base else None
    except Exception:  # noqa: BLE001 - never into the program
        _log.debug("attach failed", exc_info=True)
        return None


def open_native() -> _Native | None:
    """The C library with this process's recorder; None if it was not built."""
    global _native, _native_pid
    with _lock:
        if _native is None or _native_pid != os.getpid():
            library = find_library()
            if library is None:
                return None
            _native = _Native(_load(str(library)))
            _native_pid = os.getpid()
        return _native


def _load(path: str) -> ctypes.CDLL:
    """On Windows the program may already have loaded a copy: that one has the recorder."""
    if sys.platform == "win32":
        find = ctypes.WinDLL("kernel32").GetModuleHandleW
        find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_wchar_p,)
        loaded = find("perimortem.dll")
        if loaded:
            return ctypes.CDLL("perimortem.dll", handle=loaded)
    return ctypes.CDLL(path)


def _start_python_heartbeat(native: _Native) -> None:
    """One thread for all sessions; a daemon, so that it never delays the exit."""
    global _python_thread
    if _python_thread is not None and _python_thread.is_alive():
        return
    session = AgentSession(_PYTHON_HEARTBEAT, 0.0, native, "")

    def beat_for_ever() -> None:
        while session._native is not None and not sys.is_finalizing():
            session.beat()
            time.sleep(_PYTHON_CADENCE_S)

    _python_thread = threading.Thread(target=beat_for_ever, name="perimortem-python", daemon=True)
    _python_thread.start()


def _after_fork_in_child() -> None:
    global _native, _python_thread
    _native = None
    _python_thread = None
    for session in _sessions:
        session._detach()
    _sessions.clear()


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace").replace(b"\0", b"")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
