"""Windows' own words as a source for the monitor."""

from __future__ import annotations

import sys
import time

assert sys.platform == "win32"

from perimortem.exits.windows.event_log import read_application_events
from perimortem.exits.windows.wer_words import collect_words, read_reports
from perimortem.model.words import SystemWords, WordsSource


def open_system_words() -> WordsSource:
    """What was said of a process since now. Windows writes it while the process still is held for its
    reporter, or a moment later: its silence proves nothing."""
    began_s = time.time()

    def collect(pid: int, _tids: set[int]) -> SystemWords:
        return collect_words(pid, began_s, read_application_events, read_reports)

    return collect
