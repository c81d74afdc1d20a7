"""Wait for any number of handles: the system's thread pool waits, a completion port wakes us.

WaitForMultipleObjects takes 64 handles; RegisterWaitForSingleObject any number. A job's messages arrive
through the same port.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.system.selector import CALLS_MAX, Call
from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error

TakeMessage = Callable[[int, int, int], None]
"""take(message, value, now_ns)"""


@dataclass
class _Registered:
    key: int
    waitable: int
    call: Call
    wait: int | None
    """The pool's wait; None once it has fired."""


class HandleSelector:
    """``waitable`` is a handle: of a process, an event, a change notification."""

    def __init__(self) -> None:
        port = kernel32.CreateIoCompletionPort(kernel32.INVALID_HANDLE_VALUE, None, 0, 1)
        if not port:
            raise OSError(f"no completion port: {describe_error(last_error())}")
        self.port: int = port
        self._keys = itertools.count(1)
        self._by_waitable: dict[int, _Registered] = {}
        self._by_key: dict[int, _Registered] = {}
        self._idle: dict[int, _Registered] = {}
        """By key: those that nothing waits for yet, or no more since they were ready."""
        self._ports: dict[int, TakeMessage] = {}
        # Called in a thread of the pool: it only posts.
        self._fire = kernel32.WAITORTIMERCALLBACK(self._post)

    def register(self, waitable: int, call: Call, *, comes_first: bool = False) -> None:
        """Everything comes in the order in which it was ready: nothing overtakes its cause."""
        registered = _Registered(next(self._keys), waitable, call, None)
        self._by_waitable[waitable] = registered
        self._by_key[registered.key] = self._idle[registered.key] = registered

    def unregister(self, waitable: int) -> None:
        registered = self._by_waitable.pop(waitable)
        del self._by_key[registered.key]
        self._idle.pop(registered.key, None)
        if registered.wait is not None:
            # Until a running callback has returned: then the handle may be closed.
            kernel32.UnregisterWaitEx(registered.wait, kernel32.INVALID_HANDLE_VALUE)

    def open_port_key(self, take: TakeMessage) -> int:
        """A completion key for a job: ``take(message, value, now_ns)`` is called for each message."""
        key = next(self._keys)
        self._ports[key] = take
        return key

    def wait(self, timeout_s: float | None) -> list[Call]:
        while self._idle:
            self._begin_wait(next(iter(self._idle.values())))
        calls: list[Call] = []
        timeout_ms = kernel32.INFINITE if timeout_s is None else math.ceil(timeout_s * 1e3)
        while len(calls) < CALLS_MAX:
            call = self._take_one(min(timeout_ms, kernel32.INFINITE))
            if call is None:
                break
            calls.append(call)
            timeout_ms = 0
        return calls

    def close(self) -> None:
        for waitable in list(self._by_waitable):
            self.unregister(waitable)
        kernel32.CloseHandle(self.port)

    def _begin_wait(self, registered: _Registered) -> None:
        wait = kernel32.HANDLE()
        ok = kernel32.RegisterWaitForSingleObject(
            ctypes.byref(wait),
            registered.waitable,
            self._fire,
            registered.key,
            kernel32.INFINITE,
            kernel32.WT_EXECUTEONLYONCE,
        )
        if not ok:
            raise OSError(f"cannot wait for a handle: {describe_error(last_error())}")
        registered.wait = wait.value
        self._idle.pop(registered.key)

    def _post(self, key: int, _timed_out: int) -> None:
        kernel32.PostQueuedCompletionStatus(self.port, 0, key, None)

    def _take_one(self, timeout_ms: int) -> Call | None:
        """None at the timeout. Handles unregistered meanwhile are skipped, as an empty call."""
        message, key, value = kernel32.DWORD(), kernel32.SIZE_T(), kernel32.PVOID()
        ok = kernel32.GetQueuedCompletionStatus(
            self.port, ctypes.byref(message), ctypes.byref(key), ctypes.byref(value), timeout_ms
        )
        if not ok and not key.value:
            return None
        take = self._ports.get(key.value)
        if take is not None:
            number, of = message.value, value.value or 0
            return lambda now_ns: take(number, of, now_ns)
        registered = self._by_key.get(key.value)
        if registered is None:
            return lambda _now_ns: None
        if registered.wait is not None:
            kernel32.UnregisterWaitEx(registered.wait, kernel32.INVALID_HANDLE_VALUE)
            registered.wait = None
            self._idle[registered.key] = registered
        return registered.call
