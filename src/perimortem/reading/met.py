"""What is read of a process when it is met."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.process import ProcessInfo


@dataclass(frozen=True)
class Met:
    """Empty where it could not be read in time."""

    info: ProcessInfo
    variables: dict[str, str]
    """Of its environment: those that were asked for, and that it has."""
