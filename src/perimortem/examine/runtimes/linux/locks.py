"""The locks that the runtimes of languages know of."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.gil import find_gil
from perimortem.examine.runtimes.linux.go import find_goroutines
from perimortem.examine.runtimes.linux.java import find_java_waits
from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.node import find_node_waits
from perimortem.examine.runtimes.linux.python import add_python_places, find_python_waits
from perimortem.examine.runtimes.linux.rust import find_rust_waits
from perimortem.model.wait_graph import GraphTask, GraphThread, WaitGraph

_FINDERS = (find_python_waits, find_java_waits, find_rust_waits, find_node_waits)
"""finder(memory, the threads of one process by tid): those whose waits are better known then."""


def add_runtime_locks(graph: WaitGraph, until_s: float) -> WaitGraph:
    """The waits for locks of Python, Java and Rust, with their holders where they are known; goroutines.

    ``until_s``: by the monotonic clock; later nothing is asked that may take long."""
    by_pid: dict[int, dict[int, GraphThread]] = defaultdict(dict)
    for thread in graph.threads.values():
        by_pid[thread.pid][thread.tid] = thread
    threads = dict(graph.threads)
    tasks: list[GraphTask] = []
    for pid, own in by_pid.items():
        if any(map(_waits_in_futex, own.values())):
            found, found_tasks = _find_waits(pid, own, until_s)
            threads.update(found)
            tasks += found_tasks
    return replace(graph, threads=threads, tasks=tuple(tasks))


def add_runtime_places(graph: WaitGraph, tids: Iterable[int], until_s: float) -> WaitGraph:
    """The lines of Python in which these threads wait, as far as they can be read until then."""
    return add_python_places(graph, tids, until_s)


def _waits_in_futex(thread: GraphThread) -> bool:
    return thread.wait is not None and thread.wait.key[:1] == ("futex",)


def _find_waits(
    pid: int, threads: dict[int, GraphThread], until_s: float
) -> tuple[dict[int, GraphThread], list[GraphTask]]:
    tasks: list[GraphTask] = []
    try:
        with LiveMemory(pid) as memory:
            for find in _FINDERS:
                threads = {**threads, **find(memory, threads)}
            threads = {**threads, **find_gil(memory, threads, until_s)}
            tasks = find_goroutines(memory)
    except Exception:  # noqa: BLE001 - it is gone, may not be read, or is made to mislead its readers
        pass  # its threads keep the waits that the kernel shows, and those of others are read
    return threads, tasks
