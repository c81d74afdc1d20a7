"""The kernel's log as a source for the monitor; absent where it may not be read."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.exits.linux.kernel_log import KernelLog
from perimortem.model.words import SystemWords, WordsSource


def open_system_words() -> WordsSource:
    """What the log said of a process since now."""
    try:
        return KernelLog().collect_words
    except OSError:
        return lambda _pid, _tids: SystemWords()
