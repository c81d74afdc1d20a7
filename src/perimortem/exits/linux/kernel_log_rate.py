"""Would the kernel log a fault now? Its silence means something only then.

It logs none where debug.exception-trace is 0 (the default on arm64), and only so many lines in an
interval (kernel.printk_ratelimit and kernel.printk_ratelimit_burst): every line that it has logged in
the last interval may have taken one of them.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

assert sys.platform == "linux"

_SYSCTL = Path("/proc/sys")
_READ_ALL = 3
"""SYSLOG_ACTION_READ_ALL of syslog(2): the newest lines that fit."""
_LINES_BYTES = 16384
_LINE = re.compile(rb"^<\d+>\[ *(\d+)\.(\d{6})\]", re.MULTILINE)
_DRIFT = 0.0005
"""The log's clock is not corrected by NTP, which corrects 500 ppm at most (adjtimex(2))."""
_SLACK_S = 1.0


def logs_faults(now_ns: int) -> bool:
    """A fault in the last second or so would be in the log. ``now_ns``: CLOCK_MONOTONIC."""
    trace = _read_sysctl("debug/exception-trace")
    interval_s = _read_sysctl("kernel/printk_ratelimit")
    burst = _read_sysctl("kernel/printk_ratelimit_burst")
    if not trace or interval_s is None or burst is None:
        return False
    now_s = now_ns / 1e9
    return interval_s == 0 or is_below_limit(_read_newest(), now_s, interval_s, burst)


def is_below_limit(newest: bytes, now_s: float, interval_s: float, burst: int) -> bool:
    """Pure. ``newest``: the last lines of the log, as syslog(2) has them."""
    begin_s = now_s - interval_s - _SLACK_S - now_s * _DRIFT
    times = [int(seconds) + int(micros) / 1e6 for seconds, micros in _LINE.findall(newest)]
    reaches_back = len(newest) < _LINES_BYTES // 2 or (bool(times) and times[0] < begin_s)
    return bool(times) and reaches_back and sum(at >= begin_s for at in times) < burst


def oldest_needed_s(now_ns: int) -> float:
    """What was logged since then, in the log's time, speaks of an end that has just been seen."""
    now_s = now_ns / 1e9
    return now_s - _SLACK_S - now_s * _DRIFT


def _read_newest() -> bytes:
    buffer = ctypes.create_string_buffer(_LINES_BYTES)
    size = ctypes.CDLL(None, use_errno=True).klogctl(_READ_ALL, buffer, _LINES_BYTES)
    return buffer.raw[: max(0, size)]


def _read_sysctl(name: str) -> int | None:
    try:
        return int((_SYSCTL / name).read_text())
    except (OSError, ValueError):
        return None
