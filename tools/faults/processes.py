"""Processes of a case: found by /proc, adopted when their parent dies, and all ended with the case."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Descendants whose parent dies become our children: their status can be read."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")


def list_children(pid: int) -> list[int]:
    """Of all its threads. Empty for a process that is gone."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{task}/children").read_text()
            found += [int(word) for word in text.split()]
    return found


def list_descendants(pid: int) -> list[int]:
    children = list_children(pid)
    return [*children, *(other for child in children for other in list_descendants(child))]


def read_arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def describe_stop(pid: int) -> str | None:
    """How a process is held: "stopped", "traced by 17"; None if it is not, or is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    tracer = fields.get("TracerPid", "0").strip()
    if tracer != "0":
        return f"traced by {tracer}"
    return "stopped" if fields.get("State", "?")[0] in "Tt" else None


def await_true(condition: Callable[[], object], seconds: float) -> bool:
    """False if it did not become true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.003)
    return True


def await_end(pid: int, seconds: float) -> int | None:
    """The wait status of an adopted child; 0 if another process has reaped it, None if it lives on."""
    status: list[int] = []

    def has_ended() -> bool:
        try:
            reaped, value = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            if Path(f"/proc/{pid}").exists():
                return False
            status.append(0)
            return True
        if reaped:
            status.append(value)
        return bool(reaped)

    return status[0] if await_true(has_ended, seconds) else None


def await_quiet(seconds: float) -> bool:
    """Until what was left of a case has ended by itself; False if something goes on."""

    def is_quiet() -> bool:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return False

    return await_true(is_quiet, seconds)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end_all() -> None:
    """Kills and reaps every descendant."""
    while children := list_children(os.getpid()):
        for pid in (*children, *list_descendants(os.getpid())):
            kill(pid)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def read_memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident; ``VmHWM``: the most there has been. 0 for a process that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return 0.0
