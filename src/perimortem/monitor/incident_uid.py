"""The identity of an incident: the same in the store, the spool and every copy of its report."""

from __future__ import annotations

import hashlib
import os

from perimortem.model.process import ProcessRef


def derive_uid(process: ProcessRef, boot_id: str | None, owner_pid: int) -> str:
    """32 hexadecimal digits. A monitor that finds what another one left derives the same.

    ``owner_pid``: of the monitor whose incident it is; where two watch a process, each has its own."""
    parts = (
        boot_id or "",
        _read_pid_namespace(),
        process.pid,
        process.start_time_ticks,
        owner_pid,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def make_uid() -> str:
    """For an incident without a process."""
    return os.urandom(16).hex()


def _read_pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
