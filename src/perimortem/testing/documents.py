"""Whole documents with nothing in them; a test sets the fields that it is about."""

from __future__ import annotations

from typing import Any

import msgspec

from perimortem.documents.examination import Examination
from perimortem.documents.report import Exit, Host, Report, TargetProcess, TreeProcess, Who
from perimortem.model.evidence import Confidence
from perimortem.model.exits import ExitKind, ExitSource
from perimortem.model.verdict import Verdict
from perimortem.model.who import How, WhoKind

_AT = "2026-01-01T00:00:00.000000Z"


def make_exit(kind: ExitKind = ExitKind.EXITED, **changes: Any) -> Exit:
    """With status 0, if it is an exit."""
    end = Exit(
        kind=kind,
        code=0 if kind is ExitKind.EXITED else None,
        subcode=None,
        signal=None,
        signal_name=None,
        si_code=None,
        sender=None,
        core_dumped=None,
        raw_status=None,
        source=ExitSource.WAITID,
        text="exited with status 0",
    )
    return msgspec.structs.replace(end, **changes)


def make_report(**changes: Any) -> Report:
    """Of a process ``server[4711]`` that lived for no time and ended well."""
    end = make_exit()
    report = Report(
        schema_version=2,
        id=None,
        host=Host("host", "Linux 6.1", None),
        verdict=Verdict.CLEAN_EXIT,
        silent=None,
        who=Who(
            kind=WhoKind.ITSELF,
            how=How.EXIT,
            signal=None,
            signal_name=None,
            process=None,
            text="itself, by its own exit",
            confidence=Confidence.OBSERVED,
            source="exit status",
        ),
        where=None,
        started_at=_AT,
        ended_at=_AT,
        verdict_at=_AT,
        target=TargetProcess(4711, _AT, "server", "/bin/server", ["server"], {}),
        exit=end,
        crash=None,
        examination=None,
        last_heartbeat=None,
        heartbeats=[],
        last_event=None,
        recent_events=[],
        hangs=[],
        dumps=[],
        evidence=[],
        first_death=None,
        processes=[
            TreeProcess(
                pid=4711,
                parent_pid=1,
                name="server",
                command_line=["server"],
                labels={},
                verdict=Verdict.CLEAN_EXIT,
                exit=end,
                where=None,
                started_at=_AT,
                ended_at=_AT,
                id=None,
            )
        ],
        process_count=1,
        unwatched_count=0,
        soft_errors=[],
    )
    return msgspec.structs.replace(report, **changes)


def make_examination(**changes: Any) -> Examination:
    """Of a process ``server[4711]`` without threads."""
    examination = Examination(
        schema_version=1,
        pid=4711,
        architecture="x86_64",
        os="linux",
        program="/bin/server",
        crashed_tid=None,
        reason=None,
        signature=None,
        threads=[],
        waits=[],
        deadlocks=[],
        missing=[],
        notes=[],
        paused_ms=None,
    )
    return msgspec.structs.replace(examination, **changes)
