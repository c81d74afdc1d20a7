"""The live status line on a terminal: one line on stderr, wiped before anything else is printed."""

from __future__ import annotations

import sys
from typing import TextIO

from perimortem.hangs.states import State
from perimortem.monitor.target import Target
from perimortem.report.units import format_duration
from perimortem.system import accepts_codes


class StatusLine:
    """Shown only if stderr is a terminal and the target's output does not interfere."""

    def __init__(self, *, enabled: bool, shares_terminal: bool) -> None:
        """``shares_terminal``: the target writes to our stdout (`run`)."""
        is_mixed = shares_terminal and _is_terminal(sys.stdout)
        self.enabled = (
            enabled
            and _is_terminal(sys.stderr)
            and not is_mixed
            and accepts_codes(sys.stderr.fileno())
        )
        self._is_shown = False

    def show(self, targets: list[Target], now_ns: int) -> None:
        """The state of the first few targets."""
        if not self.enabled:
            return
        parts = [_describe(target, now_ns) for target in targets[:3]]
        if len(targets) > 3:
            parts.append(f"and {len(targets) - 3} more")
        sys.stderr.write("\r\x1b[K" + "  ".join(parts)[:200])
        sys.stderr.flush()
        self._is_shown = True

    def wipe(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_shown = False


def _is_terminal(stream: TextIO | None) -> bool:
    """Python has no stream object if the descriptor was closed."""
    return stream is not None and stream.isatty()


def _describe(target: Target, now_ns: int) -> str:
    pulse = target.read_pulse(now_ns)
    beats = ""
    if pulse is not None and target.watch.state is not State.STARTING:
        ages = (f"{b.name} {(now_ns - b.beat_ns) / 1e9:.1f} s ago" for b in pulse.heartbeats[:4])
        beats = " (" + ", ".join(ages) + ")"
    since = format_duration(max(0, now_ns - target.watched_since_ns) / 1e9)
    return f"{target.process.name}[{target.pid}] {target.watch.state} {since}{beats}"
