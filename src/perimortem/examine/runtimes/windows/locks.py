"""Locks of runtimes, such as Python's: not read on Windows, where there is no graph of waits."""

from __future__ import annotations

from collections.abc import Iterable

from perimortem.model.wait_graph import WaitGraph


def add_runtime_locks(graph: WaitGraph, until_s: float) -> WaitGraph:
    """Unchanged."""
    del until_s
    return graph


def add_runtime_places(graph: WaitGraph, tids: Iterable[int], until_s: float) -> WaitGraph:
    """Unchanged."""
    del tids, until_s
    return graph
