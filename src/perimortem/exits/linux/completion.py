"""Completes the system's exit status with what the process itself recorded. Pure."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.exits.goodbye import complete_by_goodbye
from perimortem.model.exits import Exit
from perimortem.model.recording import Recording
from perimortem.model.system_log import SystemLogFindings


def complete_exit(
    end: Exit,
    recording: Recording | None,
    findings: SystemLogFindings,
    *,
    is_ended_by_us: bool,
) -> Exit:
    """If no source knows the status, use that of the goodbye."""
    return complete_by_goodbye(end, recording)
