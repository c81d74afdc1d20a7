"""The locks that the runtimes of languages know of."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.gil import find_gil
from perimortem.examine.runtimes.linux.java import find_java_waits
from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.python import add_python_places, find_python_waits
from perimortem.examine.runtimes.linux.rust import find_rust_waits
from perimortem.model.wait_graph import GraphThread, WaitGraph

_FINDERS = (find_python_waits, find_gil, find_java_waits, find_rust_waits)
"""finder(memory, the threads of one process by tid): those whose waits are better known then."""


def add_runtime_locks(graph: WaitGraph) -> WaitGraph:
    """The waits for locks of Python, Java and Rust, with their holders where they are known."""
    by_pid: dict[int, dict[int, GraphThread]] = defaultdict(dict)
    for thread in graph.threads.values():
        by_pid[thread.pid][thread.tid] = thread
    threads = dict(graph.threads)
    for pid, own in by_pid.items():
        if any(map(_waits_in_futex, own.values())):
            threads.update(_find_waits(pid, own))
    return replace(graph, threads=threads)


def add_runtime_places(graph: WaitGraph, tids: Iterable[int]) -> WaitGraph:
    """The lines of Python in which these threads wait."""
    return add_python_places(graph, tids)


def _waits_in_futex(thread: GraphThread) -> bool:
    return thread.wait is not None and thread.wait.key[:1] == ("futex",)


def _find_waits(pid: int, threads: dict[int, GraphThread]) -> dict[int, GraphThread]:
    try:
        with LiveMemory(pid) as memory:
            for find in _FINDERS:
                threads = {**threads, **find(memory, threads)}
    except OSError:
        pass  # it is gone, or may not be read: its threads keep the waits that the kernel shows
    return threads
