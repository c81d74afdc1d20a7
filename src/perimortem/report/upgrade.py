"""Stored reports, also of earlier versions, as this version reads them. Pure.

Version 1 had evidence, where and the exits of a tree as sentences only. They are kept as such; their
meaning is not guessed from the text.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from perimortem.documents.report import Report
from perimortem.errors import MalformedInput
from perimortem.exits.signals import signal_name

CURRENT_VERSION = 2
_WHO_BY_VERDICT = {
    "clean-exit": ("itself", "exit"),
    "failed-exit": ("itself", "exit"),
    "crash": ("itself", "fault"),
    "silent-crash": ("itself", "fault"),
    "oom-kill": ("kernel", "oom"),
    "launch-failed": ("nobody", "not-started"),
}
_SOURCE = "the verdict of an earlier version"


def read_report(text: str) -> Report:
    """Raises MalformedInput for a report that no version up to this one writes."""
    try:
        return msgspec.convert(upgrade_report(json.loads(text)), Report)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedInput(
            "the report cannot be read",
            why=str(error),
            remedy="update perimortem, if a newer version wrote it",
        ) from error


def upgrade_report(report: dict[str, Any]) -> dict[str, Any]:
    """The report in the current version; itself if it already is."""
    if report.get("schema_version") != 1:
        return report
    return {
        **report,
        "schema_version": CURRENT_VERSION,
        "who": _make_who(report),
        "where": _make_where(report["where"]),
        "evidence": [{"code": None, "values": {}, **fact} for fact in report["evidence"]],
        "processes": [
            _upgrade_process(process, report["exit"] if at == 0 else None)
            for at, process in enumerate(report["processes"])
        ],
        "first_death": report["first_death"] and _upgrade_process(report["first_death"], None),
    }


def _make_where(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    return {
        "text": text,
        "module": None,
        "module_offset": None,
        "thread_name": None,
        "tid": None,
    }


def _upgrade_process(process: dict[str, Any], end: dict[str, Any] | None) -> dict[str, Any]:
    """``end``: its exit, if the report has it complete."""
    text = process["exit"]
    unknown = {
        "kind": "running" if process["ended_at"] is None else "unknown",
        "code": None,
        "subcode": None,
        "signal": None,
        "signal_name": None,
        "si_code": None,
        "sender": None,
        "core_dumped": None,
        "raw_status": None,
        "source": "none",
        "text": text,
    }
    return {**process, "exit": end or unknown, "where": _make_where(process["where"])}


def _make_who(report: dict[str, Any]) -> dict[str, Any]:
    """From the sender and the verdict alone."""
    sender, signal = report["exit"]["sender"], report["exit"]["signal"]
    kind, how = _WHO_BY_VERDICT.get(report["verdict"], ("unknown", "status-unknown"))
    text = {"itself": "itself", "kernel": "the kernel: out of memory"}.get(kind, "unknown")
    if report["exit"]["kind"] == "running":
        kind, how, text = "nobody", "running", "it still runs"
    elif kind == "nobody":
        text = "the program could not be started"
    elif sender is not None:
        kind, how = "process", "signal"
        name = f" ({sender['name']})" if sender["name"] else ""
        text = f"process {sender['pid']}{name}"
    return {
        "kind": kind,
        "how": how,
        "signal": signal,
        "signal_name": None if signal is None else signal_name(signal),
        "process": sender,
        "text": text,
        "confidence": "derived",
        "source": _SOURCE,
    }
