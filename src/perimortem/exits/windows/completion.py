"""Completes the system's exit status with what the process itself recorded. Pure.

An exit code alone does not show how a process ended: any number can be passed to ExitProcess. The agent
records each ExitProcess; if it recorded none, the process was terminated or died of an exception.
"""

from __future__ import annotations

import sys
from dataclasses import replace

assert sys.platform == "win32"

from perimortem.exits import ntstatus
from perimortem.exits.goodbye import complete_by_goodbye
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
    """The kind of an exit, from its code; and the subcode of a fast-fail."""
    end = replace(end, subcode=findings.fast_fail_code)
    if end.source not in (ExitSource.PROCESS_HANDLE, ExitSource.ETW):
        return complete_by_goodbye(end, recording)
    called_exit = recording is not None and recording.exit_note is not None
    if is_ended_by_us and not called_exit:
        return replace(end, kind=ExitKind.TERMINATED)
    if end.kind is ExitKind.EXCEPTION:
        # A process that died of an exception never calls ExitProcess. If it did call it, a code that
        # looks like an NTSTATUS is just a code: that of a child, for instance.
        is_own_code = called_exit and end.code not in ntstatus.STOP_REQUESTS
        return replace(end, kind=ExitKind.EXITED) if is_own_code else end
    if findings.exception_code is not None and findings.exception_code == end.code:
        return replace(end, kind=ExitKind.EXCEPTION)
    if recording is not None and not called_exit:
        return replace(end, kind=ExitKind.TERMINATED)
    return end
