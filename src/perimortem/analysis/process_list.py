"""The text of a debugger's `!process 0 0` (WinDbg, kd) as a list of processes. Pure.

Numbers are hex without a prefix, as Cid and ParentCid are; command lines come from `!process ADDRESS ff`
or `!peb`, and belong to the process that was queried last. Truncated text, interleaved other output and
the typographic quotes of web pages are tolerated as far as possible.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from perimortem.model.chain import ListedProcess

_ADDRESS = r"([0-9a-fA-F`]{8,17})"
_PROCESS = re.compile(rf"^\s*PROCESS\s+{_ADDRESS}")
_ASKED = re.compile(rf"!(?:process|peb)\s+(?:/\S+\s+)*{_ADDRESS}\b")
_CID = re.compile(r"\bCid:\s*([0-9a-fA-F]{1,8})\b")
_PARENT = re.compile(r"\bParentCid:\s*([0-9a-fA-F]{1,8})\b")
_THREAD = re.compile(r"^\s*THREAD\s+\S+\s+Cid\s+([0-9a-fA-F]{1,8})\.[0-9a-fA-F]+")
_IMAGE = re.compile(r"^\s*Image:\s*(\S.*?)\s*$")
_COMMAND_LINE = re.compile(r"^\s*CommandLine:\s*(.*?)\s*$")
_ELAPSED = re.compile(
    r"\bElapsedTime\s+(?:(\d{1,5})\s+days?\s+)?(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)\b",
    re.ASCII,
)
_QUOTES = "'\"\u2018\u2019\u201c\u201d\u2032\u2033"


@dataclass
class _Record:
    pid: int | None = None
    parent_pid: int | None = None
    name: str = ""
    command_line: str = ""
    age_s: float | None = None


def parse_process_list(lines: Iterable[str]) -> tuple[list[ListedProcess], list[str]]:
    """(processes, defects of the list)."""
    records: dict[str, _Record] = {}
    current: _Record | None = None
    for line in lines:
        head = _PROCESS.search(line) or _ASKED.search(line)
        if head:
            current = records.setdefault(head[1].replace("`", "").lower(), _Record())
        if current is not None:
            _take(line, current)
    found, notes = [], []
    for address, record in records.items():
        if record.pid is None:
            notes.append(f"PROCESS {address}: no Cid, the text is truncated there")
            continue
        found.append(
            ListedProcess(
                pid=record.pid,
                parent_pid=record.parent_pid,
                name=record.name or _name_of(record.command_line) or "?",
                command_line=record.command_line,
                created=None if record.age_s is None else -record.age_s,
            )
        )
        if not record.name and not record.command_line:
            notes.append(f"process {record.pid:#x}: its image is unknown")
    return found, notes


def _take(line: str, record: _Record) -> None:
    thread = _THREAD.match(line)
    if thread:
        record.pid = record.pid or int(thread[1], 16)
        return
    cid, parent = _CID.search(line), _PARENT.search(line)
    if cid and line[: cid.start()].rstrip().rpartition(" ")[2] != "Parent":
        record.pid = int(cid[1], 16)
    if parent:
        record.parent_pid = int(parent[1], 16)
    image, command_line = _IMAGE.match(line), _COMMAND_LINE.match(line)
    if image:
        record.name = image[1]
    elif command_line:
        record.command_line = command_line[1].strip(_QUOTES + " ")
    elapsed = _ELAPSED.search(line)
    if elapsed:
        days, hours, minutes, seconds = elapsed.groups()
        hours_s = (int(days or 0) * 24 + int(hours)) * 3600
        record.age_s = hours_s + int(minutes) * 60 + float(seconds)


def _name_of(command_line: str) -> str:
    match = re.match(r'"?(.*?\.exe)\b', command_line, re.IGNORECASE)
    return match[1].replace("\\", "/").rsplit("/", 1)[-1] if match else ""
