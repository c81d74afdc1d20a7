"""The kernel's log as a source for the loop; absent where it may not be read."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.exits.linux.kernel_log import KernelLog
from perimortem.model.kernel import KernelWords
from perimortem.monitor.loop import KernelSource


def open_kernel_words() -> KernelSource:
    """A function from a pid to what the log said of it since now."""
    try:
        return KernelLog().collect_words
    except OSError:
        return lambda _pid, _tids: KernelWords()
