"""A named pipe for messages; the system identifies clients (GetNamedPipeClientProcessId).

Only the user who created it may write to it (the default security of a pipe), and no other machine.
One instance waits for the next client; a client that finds it busy retries.

That only one monitor serves a run directory is ensured by a separate name: FILE_FLAG_FIRST_PIPE_INSTANCE
would do, but Wine 8 ignores it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import wintypes
from pathlib import Path

assert sys.platform == "win32"

from perimortem.errors import AccessDenied
from perimortem.winapi import kernel32, pipe
from perimortem.winapi.claim import NameTaken, claim_name
from perimortem.winapi.library import describe_error, last_error
from perimortem.wire.frames import MESSAGE_MAX
from perimortem.wire.listener import AlreadyServed, Received

_BUFFER_BYTES = 1 << 16
_ROOT = "\\\\.\\pipe\\"


class _Instance:
    """One end of the pipe, with one operation pending at a time."""

    def __init__(self, name: str, *, is_first: bool) -> None:
        """Raises OSError."""
        flags = pipe.FILE_FLAG_FIRST_PIPE_INSTANCE if is_first else 0
        handle = pipe.CreateNamedPipeW(
            name,
            pipe.PIPE_ACCESS_DUPLEX | pipe.FILE_FLAG_OVERLAPPED | flags,
            pipe.PIPE_TYPE_MESSAGE | pipe.PIPE_READMODE_MESSAGE | pipe.PIPE_REJECT_REMOTE_CLIENTS,
            pipe.PIPE_UNLIMITED_INSTANCES,
            _BUFFER_BYTES,
            _BUFFER_BYTES,
            0,
            None,
        )
        if handle in (None, kernel32.INVALID_HANDLE_VALUE):
            raise OSError(last_error(), describe_error(last_error()))
        self.handle: int = handle
        self.event: int = kernel32.CreateEventW(None, True, False, None)
        self.overlapped = pipe.OVERLAPPED(hEvent=self.event)
        self.is_pending = False

    def begin_connect(self) -> None:
        if not pipe.ConnectNamedPipe(self.handle, ctypes.byref(self.overlapped)):
            self.is_pending = last_error() == pipe.ERROR_IO_PENDING
        if not self.is_pending:  # the client was faster
            kernel32.SetEvent(self.event)

    def collect(self) -> int:
        """Bytes moved. Raises BlockingIOError while it is pending, OSError if it failed; a message
        longer than its buffer arrives as its first part."""
        count = kernel32.DWORD()
        overlapped = ctypes.byref(self.overlapped)
        ok = pipe.GetOverlappedResult(self.handle, overlapped, ctypes.byref(count), False)
        error = 0 if ok else last_error()
        if error == pipe.ERROR_IO_INCOMPLETE:
            raise BlockingIOError
        self.is_pending = False
        if error not in (0, pipe.ERROR_MORE_DATA):
            raise OSError(error, describe_error(error))
        return int(count.value)

    def close(self) -> None:
        if self.is_pending:
            pipe.CancelIoEx(self.handle, None)
            count = kernel32.DWORD()
            # Until it is cancelled the system may still write into our memory.
            overlapped = ctypes.byref(self.overlapped)
            pipe.GetOverlappedResult(self.handle, overlapped, ctypes.byref(count), True)
        kernel32.CloseHandle(self.handle)
        kernel32.CloseHandle(self.event)


class LocalListener:
    """Clients of one pipe."""

    def __init__(self, address: str, claim: int | None) -> None:
        """``claim``: released with the pipe. Raises AlreadyServed or AccessDenied."""
        self.address = address
        self._claim = claim
        try:
            self._waiting = _Instance(address, is_first=True)
        except OSError as error:
            if error.errno == kernel32.ERROR_ACCESS_DENIED:
                raise AlreadyServed(f"a monitor already serves {address}") from error
            raise AccessDenied(f"cannot listen at {address}", why=str(error)) from error
        # The selector knows us by one event; instances change.
        self._event: int = self._waiting.event
        self._waiting.begin_connect()

    def waitable(self) -> int:
        return self._event

    def accept(self) -> LocalConnection | None:
        connected = self._waiting
        if connected.is_pending:
            try:
                connected.collect()
            except BlockingIOError:
                return None
            except OSError:
                pass  # it left again: its first read reports that
        elif kernel32.WaitForSingleObject(self._event, 0) != kernel32.WAIT_OBJECT_0:
            return None
        try:
            following = _Instance(self.address, is_first=False)
        except OSError:
            return None
        # The event stays with the listener; the connection gets that of the new instance.
        following.event, connected.event = connected.event, following.event
        following.overlapped.hEvent = following.event
        connected.overlapped.hEvent = connected.event
        kernel32.ResetEvent(self._event)
        self._waiting = following
        following.begin_connect()
        return LocalConnection(connected)

    def close(self) -> None:
        self._waiting.close()
        if self._claim is not None:
            kernel32.CloseHandle(self._claim)


class LocalConnection:
    """One client of the pipe."""

    def __init__(self, instance: _Instance) -> None:
        self._instance = instance
        self._buffer = ctypes.create_string_buffer(MESSAGE_MAX + 1)
        pid = wintypes.ULONG()
        ok = pipe.GetNamedPipeClientProcessId(instance.handle, ctypes.byref(pid))
        self._pid = int(pid.value) if ok else 0
        self._has_left = False
        self._begin_read()

    def waitable(self) -> int:
        return self._instance.event

    def receive(self) -> Received | None:
        if self._has_left:
            raise EOFError
        try:
            count = self._instance.collect()
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        data = self._buffer.raw[:count]
        self._begin_read()
        if not data:
            raise EOFError
        return Received(self._pid, data)

    def send(self, data: bytes) -> bool:
        event: int = kernel32.CreateEventW(None, True, False, None)
        overlapped = pipe.OVERLAPPED(hEvent=event)
        written = kernel32.DWORD()
        at = ctypes.byref(overlapped)
        ok = pipe.WriteFile(self._instance.handle, data, len(data), None, at)
        if not ok and last_error() == pipe.ERROR_IO_PENDING:
            # Its buffer is full, since it does not read. Or it completed meanwhile.
            pipe.CancelIoEx(self._instance.handle, at)
        is_sent = pipe.GetOverlappedResult(self._instance.handle, at, ctypes.byref(written), True)
        kernel32.CloseHandle(event)
        return bool(is_sent) and written.value == len(data)

    def close(self) -> None:
        self._instance.close()

    def _begin_read(self) -> None:
        ok = pipe.ReadFile(
            self._instance.handle,
            self._buffer,
            len(self._buffer),
            None,
            ctypes.byref(self._instance.overlapped),
        )
        error = 0 if ok else last_error()
        self._instance.is_pending = error == pipe.ERROR_IO_PENDING
        if error not in (0, pipe.ERROR_IO_PENDING, pipe.ERROR_MORE_DATA):
            self._has_left = True
            kernel32.SetEvent(self._instance.event)


def open_listener(run_dir: Path, name: str) -> LocalListener:
    """Listen for all programs that use ``run_dir``. Raises :class:`AlreadyServed`, AccessDenied."""
    service = _service_name(run_dir, name)
    address = f"{_ROOT}{service}"
    try:
        claim = claim_name(service)
    except (NameTaken, PermissionError) as error:
        raise AlreadyServed(f"a monitor already serves {address}") from error
    except OSError as error:
        raise AccessDenied(f"cannot listen at {address}", why=str(error)) from error
    try:
        return LocalListener(address, claim)
    except BaseException:
        kernel32.CloseHandle(claim)
        raise


def open_own_listener(run_dir: Path) -> LocalListener:
    """For the programs that this process watches only."""
    return LocalListener(f"{_ROOT}perimortem-{os.getpid()}", None)


def _service_name(run_dir: Path, name: str) -> str:
    """One per run directory, named as the C library does: FNV-1a of its UTF-8 in lower case."""
    digest = 0xCBF29CE484222325
    for byte in os.fsencode(str(run_dir).lower()):
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"perimortem-{digest:016x}-{name}"
