"""Windows' messages about a process: its event log, and the reports that WER wrote."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

assert sys.platform == "win32"

from perimortem.exits.wer import (
    ApplicationError,
    ApplicationHang,
    parse_event,
    parse_report,
    read_fast_fail_code,
    report_ids,
)
from perimortem.model.system_log import FaultLine, SystemLogFindings

_REPORT_MAX = 256 << 10
_REPORTS_MAX = 50

ReadEvents = Callable[[int], Iterable[str]]
ReadReports = Callable[[float], Iterable[str]]


def collect_words(
    pid: int, began_s: float, read_events: ReadEvents, read_reports: ReadReports
) -> SystemLogFindings:
    """``read_events``: XML of the given last milliseconds; ``read_reports``: texts since a time."""
    last_ms = int((time.time() - began_s) * 1e3) + 1000
    fault = exception_code = fast_fail_code = hang = None
    try:
        events = [parse_event(xml) for xml in read_events(last_ms)]
    except OSError:
        return SystemLogFindings(source="event log")
    for event in events:
        if isinstance(event, ApplicationError) and event.pid == pid and fault is None:
            fault = _describe_error(event)
            exception_code = event.exception_code
            fast_fail_code = _find_fast_fail_code(event, read_reports(began_s))
        elif isinstance(event, ApplicationHang) and event.pid == pid:
            hang = f"Application Hang 1002: {event.program} stopped interacting and was closed"
    return SystemLogFindings(
        is_readable=False,  # it may appear later: its absence means nothing
        fault=fault,
        hang=hang,
        exception_code=exception_code,
        fast_fail_code=fast_fail_code,
        source="event log",
    )


def _describe_error(event: ApplicationError) -> FaultLine:
    text = (
        f"Application Error 1000: {event.program}, exception {event.exception_code:#010x} "
        f"in {event.module}+{event.module_offset:#x}"
    )
    return FaultLine(text, event.module, event.module_offset)


def _find_fast_fail_code(event: ApplicationError, reports: Iterable[str]) -> int | None:
    for text in reports:
        report = parse_report(text)
        if event.report_id.lower() in report_ids(report):
            return read_fast_fail_code(report)
    return None


def read_reports(since_s: float) -> Iterator[str]:
    """Texts of Report.wer files written since then, in the directories where WER keeps them."""
    roots = [os.environ.get("PROGRAMDATA"), os.environ.get("LOCALAPPDATA")]
    count = 0
    for root in roots:
        for queue in ("ReportArchive", "ReportQueue"):
            folder = Path(root or "") / "Microsoft" / "Windows" / "WER" / queue
            for path in folder.glob("*/Report.wer") if root else ():
                if count >= _REPORTS_MAX or not _is_new(path, since_s):
                    continue
                count += 1
                yield _read_text(path)


def _is_new(path: Path, since_s: float) -> bool:
    try:
        return path.stat().st_mtime >= since_s - 1
    except OSError:
        return False


def _read_text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(_REPORT_MAX)
    except OSError:
        return ""
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return raw.decode(encoding, "replace")
