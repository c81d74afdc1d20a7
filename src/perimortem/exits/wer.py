"""Windows' own record of a death: events of the Application log, and Report.wer. Pure: text to facts.

Application Error 1000 and Application Hang 1002 carry their facts by position (their manifests name
them only on newer Windows): 1000 is program, version, time stamp, module, version, time stamp, exception
code, offset, process id, creation time, program path, module path, report id. 1002 is program, version,
process id, creation time, ...
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from perimortem.text import printable

_NAMESPACE = "{http://schemas.microsoft.com/win/2004/08/events/event}"
APPLICATION_ERROR = 1000
APPLICATION_HANG = 1002
_XML_MAX = 64 << 10
_IDS = ("ReportIdentifier", "IntegratorReportIdentifier")


@dataclass(frozen=True)
class ApplicationError:
    """Event 1000."""

    pid: int
    create_time: int
    """100 ns since 1601."""
    program: str
    module: str
    module_offset: int
    exception_code: int
    report_id: str


@dataclass(frozen=True)
class ApplicationHang:
    """Event 1002: its window did not respond, and it was closed."""

    pid: int
    create_time: int
    program: str


def parse_event(xml: str) -> ApplicationError | ApplicationHang | None:
    """None for any other event, and for one with missing fields."""
    if len(xml) > _XML_MAX or "<!" in xml:  # no event declares entities
        return None
    try:
        root = ET.fromstring(xml)
        number = int(root.findtext(f"{_NAMESPACE}System/{_NAMESPACE}EventID") or 0)
        data = [item.text or "" for item in root.iter(f"{_NAMESPACE}Data")]
        if number == APPLICATION_ERROR:
            return ApplicationError(
                pid=_hex(data[8]),
                create_time=_hex(data[9]),
                program=printable(data[0]),
                module=printable(data[3]),
                module_offset=_hex(data[7]),
                exception_code=_hex(data[6]),
                report_id=printable(data[12]) if len(data) > 12 else "",
            )
        if number == APPLICATION_HANG:
            return ApplicationHang(_hex(data[2]), _hex(data[3]), printable(data[0]))
    except (ET.ParseError, ValueError, IndexError):
        return None
    return None


def parse_report(text: str) -> dict[str, str]:
    """Report.wer: its signature by name, "Exception Data" and such, and its ReportIdentifier."""
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        match = re.fullmatch(r"Sig\[(\d{1,2})\]\.(Name|Value)", key)
        if match:
            (names if match[2] == "Name" else values)[match[1]] = printable(value)
        elif equals and key in _IDS:
            found[key] = value
    return found | {names[index]: values.get(index, "") for index in names}


def report_ids(report: dict[str, str]) -> set[str]:
    """The id by which an event refers to a report; newer ones use the integrator's."""
    return {report[key].lower() for key in _IDS if report.get(key)}


def read_fast_fail_code(report: dict[str, str]) -> int | None:
    """The subcode of 0xC0000409; None if the report is about something else."""
    try:
        if int(report.get("Exception Code", ""), 16) != 0xC0000409:
            return None
        return int(report.get("Exception Data", ""), 16)
    except ValueError:
        return None


def _hex(text: str) -> int:
    """ "0x1a2c" or "1a2c"."""
    return int(text.strip(), 16)
