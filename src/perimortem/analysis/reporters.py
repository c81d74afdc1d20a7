"""Recognize crash reporters, and what they report, by name and command line. Pure.

Sources: WerFault's arguments as seen in complete memory dumps (-u -p PID -s N; -pss -s N -p PID -ip
PID); core(5) and the core_pattern of each package on Linux.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from perimortem.model.chain import ListedProcess

_NUMBER = r"(0[xX][0-9a-fA-F]{1,8}|0n[0-9]{1,10}|[0-9]{1,10})(?![0-9a-zA-Z])"
"""A pid has 32 bits; a larger number is not a pid."""
_WER_OWN = re.compile(rf"(?:^|\s)[-/]ip\s+{_NUMBER}", re.IGNORECASE)
_WER_PID = re.compile(rf"(?:^|\s)[-/]p\s+{_NUMBER}", re.IGNORECASE)
_PID_OPTION = re.compile(r"(?:^|\s)(?:-p\s*|--pid[= ]|--attach[= ])([0-9]{1,10})(?:\s|$)")


def parse_number(text: str) -> int:
    """Decimal, 0x hex, or the debugger's 0n decimal."""
    if text.lower().startswith("0n"):
        return int(text[2:])
    return int(text, 16 if text.lower().startswith("0x") else 10)


@dataclass(frozen=True)
class Reporter:
    """One kind of reporter. ``stop``: the setting that prevents a chain of them."""

    names: re.Pattern[str]
    find_pid: Callable[[str], int | None]
    is_child: bool
    """It is started by the process that it reports, or by the system as its child."""
    stop: str


def _find_wer(command_line: str) -> int | None:
    match = _WER_OWN.search(command_line) or _WER_PID.search(command_line)
    return parse_number(match[1]) if match else None


def _find_option(command_line: str) -> int | None:
    match = _PID_OPTION.search(command_line)
    return int(match[1]) if match else None


def _find_argument(index: int) -> Callable[[str], int | None]:
    """The nth argument, as a core_pattern puts it there."""

    def find(command_line: str) -> int | None:
        arguments = _split(command_line)
        return _parse_pid(arguments[index]) if len(arguments) > index else None

    return find


def _find_apport(command_line: str) -> int | None:
    """-p1234 -s11 ..., in older versions 1234 11 ... ."""
    match = re.search(r"(?:^|\s)-[pP]([0-9]{1,10})(?:\s|$)", command_line)
    return int(match[1]) if match else _find_argument(1)(command_line)


def _find_debugger(command_line: str) -> int | None:
    """gdb -p PID, gdb PROGRAM PID."""
    found = _find_option(command_line)
    if found is None:
        last = _split(command_line)[-1:]
        found = _parse_pid(last[0]) if last else None
    return found


def _parse_pid(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _split(command_line: str) -> list[str]:
    try:
        return shlex.split(command_line)
    except ValueError:
        return command_line.split()


_WER_STOP = (
    r'reg add "HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting\ExcludedApplications" '
    "/v WerFault.exe /t REG_DWORD /d 1  (or Disabled = 1 one key above, for all programs)"
)
_CORE_STOP = (
    "a core_pattern with a pipe and core_pipe_limit > 0 bounds how many run at once "
    "(sysctl kernel.core_pipe_limit=16); a reporter with RLIMIT_CORE = 1 is not reported again"
)

REPORTERS = (
    Reporter(re.compile(r"wer(fault|mgr|faultsecure)(\.exe)?", re.I), _find_wer, True, _WER_STOP),
    Reporter(re.compile(r"systemd-coredum.*"), _find_argument(1), False, _CORE_STOP),
    Reporter(re.compile(r"apport.*"), _find_apport, False, _CORE_STOP),
    Reporter(re.compile(r"abrt-hook-ccpp"), _find_argument(3), False, _CORE_STOP),
    Reporter(
        re.compile(r".*crashpad_handler(\.exe)?"),
        _find_option,
        True,
        "a crashpad_handler without --monitor-self does not report its own crashes",
    ),
    Reporter(re.compile(r"drkonqi"), _find_option, True, "KDE_DEBUG=1 keeps KCrash from drkonqi"),
    Reporter(re.compile(r"gdb|lldb|dtrace"), _find_debugger, False, "end the debugger"),
    Reporter(
        re.compile(r"perimortem-core.*"), _find_argument(1), False, "perimortem system uninstall"
    ),
)
"""A new reporter is a row here."""


def find_reporter(process: ListedProcess) -> Reporter | None:
    """By name."""
    name = process.name.replace("\\", "/").rsplit("/", 1)[-1]
    return next((r for r in REPORTERS if r.names.fullmatch(name)), None)
