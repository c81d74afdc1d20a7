"""Completes the system's exit status with what the process itself recorded. Pure."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.recording import Recording
from perimortem.model.system_log import SystemLogFindings


def complete_exit(
    end: Exit,
    recording: Recording | None,
    findings: SystemLogFindings,
    *,
    is_ended_by_us: bool,
) -> Exit:
    """If no source knows the status, use that of the goodbye: the status the process exits with."""
    if end.kind is not ExitKind.UNKNOWN or recording is None:
        return end
    status = recording.pulse.goodbye_status
    if recording.pulse.goodbye_ns is None or status is None or status < 0:
        return end
    return Exit(ExitKind.EXITED, ExitSource.GOODBYE, code=status & 0xFF)
