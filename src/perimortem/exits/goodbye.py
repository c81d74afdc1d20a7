"""The exit status that a process wrote into its recorder before it left. Pure."""

from __future__ import annotations

from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.recording import Recording


def complete_by_goodbye(end: Exit, recording: Recording | None) -> Exit:
    """If no source knows the status, use that of the goodbye: the status the process exits with."""
    if end.kind is not ExitKind.UNKNOWN or recording is None:
        return end
    status = recording.pulse.goodbye_status
    if recording.pulse.goodbye_ns is None or status is None or status < 0:
        return end
    return Exit(ExitKind.EXITED, ExitSource.GOODBYE, code=status & 0xFF)
