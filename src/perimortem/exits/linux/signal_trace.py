"""The senders of fatal signals: ``signal:signal_generate``, traced in the context of the sender.

The kernel filters: only signals that end processes by default, and by their si_code only those that a
process sent; a timer's signal is traced in the process that it interrupts. ``oom:mark_victim`` names the
out-of-memory killer's victim. Pids are those of the first pid namespace; in another one the trace would
name the wrong processes: not used there.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

assert sys.platform == "linux"

from perimortem.exits.linux.tracefs import TraceInstance
from perimortem.model.system_log import SentSignal
from perimortem.text import printable

_SIGNALS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 24, 25, 31)
_SENT = (0, -1, -6)
"""SI_USER, SI_QUEUE, SI_TKILL."""
_LIKE_OWN = (13, 25)
"""SIGPIPE, SIGXFSZ: the kernel sends them as if the process had."""
_BUFFER_KIB = "32"
"""Per processor; the last two hundred signals fit, and each end is looked up at once."""
_LINES_MAX = 1_000
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_HEAD = r"^\s*(?P<comm>.{0,15})-(?P<pid>\d+)\s+\[\d+\]\s+\S+\s+(?P<s>\d+)\.(?P<us>\d{6}): "
_GENERATED = re.compile(
    _HEAD + r"signal_generate: sig=(?P<signal>\d+) errno=-?\d+ code=(?P<code>-?\d+) "
    r"comm=.{0,15} pid=(?P<target>\d+) grp=\d res=\d"
)
_VICTIM = re.compile(_HEAD + r"mark_victim: pid=(?P<target>\d+)(?P<rest>.*)")


class SignalTrace:
    """Traces from now on, in the kernel; read only when a process has ended."""

    def __init__(self) -> None:
        """Raises OSError if tracing cannot be used."""
        if os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE:
            raise OSError("this is not the first pid namespace")
        self._instance = TraceInstance()
        self._pipe = -1
        try:
            self._instance.write("trace_clock", "mono")
            self._instance.write("buffer_size_kb", _BUFFER_KIB)
            signals = " || ".join(f"sig == {number}" for number in _SIGNALS)
            codes = " || ".join(f"code == {code}" for code in _SENT)
            self._instance.write(
                "events/signal/signal_generate/filter", f"({codes}) && ({signals})"
            )
            self._instance.write("events/signal/signal_generate/enable", "1")
            with suppress(OSError):  # kernels without it
                self._instance.write("events/oom/mark_victim/enable", "1")
            self._pipe = self._instance.open_pipe()
        except OSError:
            self._instance.close()
            raise
        self._lines: deque[str] = deque(maxlen=_LINES_MAX)

    def find_signals(self, tids: set[int]) -> tuple[SentSignal, ...]:
        """The signals sent to these threads."""
        self._drain()
        named = [f" pid={tid} " for tid in tids]
        lines = [line for line in self._lines if any(name in line for name in named)]
        return parse_signals(lines, tids)

    def find_victim(self, pid: int) -> str | None:
        """The line in which the out-of-memory killer chose it."""
        self._drain()
        return parse_victim([line for line in self._lines if "mark_victim" in line], pid)

    def close(self) -> None:
        os.close(self._pipe)
        self._instance.close()

    def _drain(self) -> None:
        while True:
            try:
                text = os.read(self._pipe, 65536)
            except OSError:  # nothing more
                return
            if not text:
                return
            # Names are arbitrary bytes; a line ends with a newline and nothing else.
            self._lines.extend(text.decode("latin-1").split("\n"))


def parse_signals(lines: Iterable[str], tids: set[int]) -> tuple[SentSignal, ...]:
    """Pure. ``tids``: the threads of the process that the signals were sent to."""
    found = []
    for line in lines:
        match = _GENERATED.match(line)
        if match is None or int(match["target"]) not in tids or int(match["code"]) not in _SENT:
            continue
        is_own = int(match["pid"]) in tids
        if is_own and int(match["signal"]) in _LIKE_OWN:
            continue
        found.append(
            SentSignal(
                signal=int(match["signal"]),
                sender_pid=int(match["pid"]),
                sender_name=printable(match["comm"]),
                at_ns=int(match["s"]) * 1_000_000_000 + int(match["us"]) * 1000,
                is_own=is_own,
            )
        )
    return tuple(found)


def parse_victim(lines: Iterable[str], pid: int) -> str | None:
    for line in lines:
        match = _VICTIM.match(line)
        if match is not None and int(match["target"]) == pid:
            return f"the out-of-memory killer chose process {pid}:{printable(match['rest'])}"
    return None
