"""Children of ours that were ended, until they are reaped: some are stuck in the kernel for long."""

from __future__ import annotations

from typing import Protocol


class Child(Protocol):
    """A ``Service``."""

    pid: int

    def is_over(self) -> bool: ...


class Leaving:
    """Still children of ours, and of no target."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __len__(self) -> int:
        return len(self._reap())

    def add(self, child: Child) -> None:
        self._children.append(child)

    def pids(self) -> set[int]:
        return {child.pid for child in self._reap()}

    def _reap(self) -> list[Child]:
        self._children = [child for child in self._children if not child.is_over()]
        return self._children
