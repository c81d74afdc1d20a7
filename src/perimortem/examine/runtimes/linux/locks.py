"""What the kernel does not know of a wait, but the runtime of a language does."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.gil import add_gil
from perimortem.examine.runtimes.linux.java import add_java_monitors
from perimortem.examine.runtimes.linux.python import add_python_locks, add_python_places
from perimortem.examine.runtimes.linux.rust import add_rust_locks
from perimortem.model.wait_graph import WaitGraph


def add_runtime_locks(graph: WaitGraph) -> WaitGraph:
    """The waits for locks of Python, Java and Rust, with their holders where they are known."""
    return add_rust_locks(add_java_monitors(add_gil(add_python_locks(graph))))


def add_runtime_places(graph: WaitGraph, tids: Iterable[int]) -> WaitGraph:
    """The lines of Python in which these threads wait."""
    return add_python_places(graph, tids)
