"""The kernel's event tracing, in our own instance: other tracing is not affected.

If tracefs is not mounted it is mounted for this process alone (fsopen, fsconfig, fsmount: it appears
in no directory). Requires root, or CAP_SYS_ADMIN and write access there.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import suppress

assert sys.platform == "linux"

_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC, _FSCONFIG_CMD_CREATE = 1, 1, 6
_MOUNTED_AT = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_PREFIX = "perimortem-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class TraceInstance:
    """``instances/perimortem-PID``, removed by :meth:`close`."""

    def __init__(self) -> None:
        """Raises OSError: no right, no tracefs in this kernel."""
        self._root = _open_root()
        self._path = f"instances/{_PREFIX}{os.getpid()}"
        try:
            _remove_stale(self._root)
            os.mkdir(self._path, dir_fd=self._root)
            self._directory = os.open(self._path, _DIRECTORY, dir_fd=self._root)
        except OSError:
            os.close(self._root)
            raise

    def write(self, path: str, text: str) -> None:
        """Into a file of the instance. Raises OSError."""
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def open_pipe(self) -> int:
        """The trace as text, each line once; never blocks."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open("trace_pipe", flags, dir_fd=self._directory)

    def close(self) -> None:
        """Tracing ends with the instance; all its descriptors must be closed before.

        The kernel takes some 50 ms for that, in the background."""
        os.close(self._directory)
        with suppress(OSError):
            remover = subprocess.Popen(
                ["rmdir", f"/proc/self/fd/{self._root}/{self._path}"],
                pass_fds=[self._root],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            remover.returncode = 0  # otherwise Python would warn
        os.close(self._root)


def _open_root() -> int:
    error: OSError | None = None
    for path in _MOUNTED_AT:
        if os.path.isdir(f"{path}/instances"):
            try:
                return os.open(path, _DIRECTORY)
            except OSError as refused:
                error = refused
    if error is not None:
        raise error
    return _mount_for_ourselves()


def _mount_for_ourselves() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    context = _call(libc, _SYS_FSOPEN, b"tracefs", _FSOPEN_CLOEXEC)
    try:
        _call(libc, _SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _call(libc, _SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        return os.open(".", _DIRECTORY, dir_fd=mount)
    finally:
        os.close(mount)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _remove_stale(root: int) -> None:
    """Left by monitors that were killed."""
    instances = os.open("instances", _DIRECTORY, dir_fd=root)
    try:
        for name in os.listdir(instances):
            pid = name.removeprefix(_PREFIX)
            if name.startswith(_PREFIX) and pid.isdecimal() and not os.path.isdir(f"/proc/{pid}"):
                with suppress(OSError):
                    os.rmdir(name, dir_fd=instances)
    finally:
        os.close(instances)
