"""A report as the store and the spool take it: its JSON, and the columns that it is found by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perimortem.documents.report import Report


@dataclass(frozen=True)
class StoredReport:
    """Plain values: the process that writes them need not know the types of a report."""

    uid: str | None
    """None in reports of earlier versions: they are never replaced."""
    verdict: str
    name: str
    program: str
    """Its name, under an interpreter with that of the script; and whether it ended cleanly: what of it
    shares one quota."""
    pid: int | None
    started_at: str
    ended_at: str
    """Of a program that runs on: the time of the verdict."""
    verdict_at: str
    dump_paths: tuple[str, ...]
    text: str
    """The report as JSON (docs/report.schema.json)."""


def prepare_report(report: Report) -> StoredReport:
    """Its number (``id``) is given by the store."""
    import msgspec

    from perimortem.documents.base import encode

    return StoredReport(
        uid=report.uid,
        verdict=report.verdict.value,
        name=report.target.name,
        program=_describe_quota(report),
        pid=report.target.pid,
        started_at=report.started_at,
        ended_at=report.ended_at or report.verdict_at,
        verdict_at=report.verdict_at,
        dump_paths=tuple(dump.path for dump in report.dumps if dump.path),
        text=encode(msgspec.structs.replace(report, id=None)),
    )


def _describe_quota(report: Report) -> str:
    """Thousands of clean ends do not keep a crash out of the store."""
    from perimortem.analysis.crash import choose_program_name
    from perimortem.model.verdict import Verdict

    target = report.target
    name = choose_program_name(target.name, target.executable, target.command_line)
    return f"{name}: {'clean' if report.verdict is Verdict.CLEAN_EXIT else 'unclean'}"
