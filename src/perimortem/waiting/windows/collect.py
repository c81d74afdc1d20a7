"""The graph of waits on Windows."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "win32"

from perimortem.errors import PerimortemError
from perimortem.model.wait_graph import WaitGraph


def collect_graph(pids: Iterable[int]) -> WaitGraph:
    """Raises PerimortemError: the facts are not read here yet."""
    raise PerimortemError(
        "what a process waits for is shown on Linux only",
        remedy="perimortem stack PID shows where its threads are",
    )
