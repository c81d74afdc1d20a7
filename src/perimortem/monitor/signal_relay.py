"""Signals that reach us and are meant for the target: each is passed on once.

Ctrl-C reaches the whole foreground group by itself (si_code SI_KERNEL): the target, which stays in
our group, has it already. Only what a process sent to us alone (si_code <= 0) is passed on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.model.exits import Sender

RELAYED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_SIGINFO_BYTES = 128
_SIGINFO = struct.Struct("<IiiII")  # ssi_signo, ssi_errno, ssi_code, ssi_pid, ssi_uid
_SFD_CLOEXEC, _SFD_NONBLOCK = os.O_CLOEXEC, os.O_NONBLOCK


@dataclass(frozen=True)
class Received:
    """A signal that reached us."""

    signal: int
    si_code: int
    sender: Sender | None

    @property
    def from_terminal(self) -> bool:
        """Raised by the kernel for the whole foreground group."""
        return self.si_code > 0


class SignalRelay:
    """Receives by signalfd, so that signals are read in the loop like everything else."""

    def __init__(self) -> None:
        wanted = {s for s in RELAYED if signal.getsignal(s) is not signal.SIG_IGN}
        self.original_mask: set[signal.Signals] = {
            signal.Signals(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        }
        self._fd = _signalfd(wanted)

    def fileno(self) -> int:
        return self._fd

    def receive(self) -> Iterator[Received]:
        """Every signal that is waiting."""
        while True:
            try:
                raw = os.read(self._fd, _SIGINFO_BYTES)
            except BlockingIOError:
                return
            number, _, code, pid, uid = _SIGINFO.unpack_from(raw)
            sender = Sender(pid, uid, _name_of(pid)) if code <= 0 and pid else None
            yield Received(number, code, sender)

    def close(self) -> None:
        """Take the signals as before. What came meanwhile is dropped: its target has ended."""
        for _ in self.receive():
            pass
        os.close(self._fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.original_mask)


def _signalfd(signals: set[signal.Signals]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    mask = ctypes.create_string_buffer(128)  # sigset_t
    libc.sigemptyset(mask)
    for number in signals:
        libc.sigaddset(mask, int(number))
    fd: int = libc.signalfd(-1, mask, _SFD_CLOEXEC | _SFD_NONBLOCK)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def _name_of(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return file.read().strip()
    except OSError:
        return None
