"""Signals that reach us and are meant for the target: each is relayed exactly once.

Ctrl-C reaches the whole foreground group directly (si_code SI_KERNEL), including the target, which stays
in our group. Any other signal is passed on only if it was sent to us alone (``process_group_probe``).
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
from perimortem.monitor.platform.linux.process_group_probe import PATIENCE_NS, ProcessGroupProbe

RELAYED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
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
    at_ns: int

    @property
    def from_terminal(self) -> bool:
        """Raised by the kernel for the whole foreground group. A hang-up of the terminal (HUP and CONT)
        goes to the leader of the session alone."""
        return self.si_code > 0 and self.signal not in (signal.SIGHUP, signal.SIGCONT)


class SignalRelay:
    """Receives by signalfd, so that signals are read in the loop like everything else."""

    def __init__(self, signals: tuple[signal.Signals, ...] = RELAYED) -> None:
        wanted = {s for s in signals if signal.getsignal(s) is not signal.SIG_IGN}
        self.signals = frozenset(wanted)
        self.original_mask: set[signal.Signals] = {
            signal.Signals(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        }
        self._fd = _signalfd(wanted)

    def fileno(self) -> int:
        return self._fd

    def receive(self, now_ns: int) -> Iterator[Received]:
        """All pending signals."""
        while True:
            try:
                raw = os.read(self._fd, _SIGINFO_BYTES)
            except BlockingIOError:
                return
            number, _, code, pid, uid = _SIGINFO.unpack_from(raw)
            # The code is shown as unsigned, and the kernel's own have their upper half cut off.
            sender = Sender(pid, uid, _name_of(pid)) if code <= 0 and pid else None
            yield Received(number, code, sender, now_ns)

    def close(self) -> None:
        """Restore the signal handling. Signals received meanwhile are dropped: the target has ended."""
        for _ in self.receive(0):
            pass
        os.close(self._fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.original_mask)


_RETRY_NS = 5_000_000
_PROBE_STUCK_NS = 2_000_000_000
"""A probe that has not run for so long is stopped, or worse. Arbitrary."""


class Undecided:
    """Signals of which it is not yet known whether the whole group received them."""

    def __init__(self, probe: ProcessGroupProbe) -> None:
        self._probe = probe
        self._waiting: list[Received] = []
        self._heard: list[tuple[int, int]] = []

    def hold(self, received: Received) -> None:
        self._waiting.append(received)

    def due_ns(self, now_ns: int) -> int | None:
        """When the next one is to be decided."""
        due_ns = min((r.at_ns + PATIENCE_NS for r in self._waiting), default=None)
        return None if due_ns is None else max(due_ns, now_ns + _RETRY_NS)

    def listen(self, now_ns: int) -> None:
        """Drop those that the probe received, too: they were sent to the whole group."""
        self._heard += [(number, now_ns) for number in self._probe.receive()]
        self._heard = [(n, at_ns) for n, at_ns in self._heard if now_ns - at_ns <= PATIENCE_NS]
        for number, at_ns in list(self._heard):
            match = next((r for r in self._waiting if r.signal == number), None)
            if match is not None:
                self._heard.remove((number, at_ns))
                self._waiting.remove(match)

    def take_due(self, now_ns: int) -> list[Received]:
        """Those that were sent to us alone: the probe has had its time, and has not received them."""
        due = [r for r in self._waiting if r.at_ns + PATIENCE_NS <= now_ns]
        if due and now_ns - due[0].at_ns < _PROBE_STUCK_NS:
            if not self._probe.is_idle():
                return []
            self.listen(now_ns)  # what it reported until it was seen idle
            due = [r for r in self._waiting if r.at_ns + PATIENCE_NS <= now_ns]
        self._waiting = [r for r in self._waiting if r not in due]
        return due


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
