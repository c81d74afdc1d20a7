r"""HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting\LocalDumps\PROGRAM.exe.

WER reads DumpFolder, DumpCount, DumpType (0 custom, 1 mini, 2 full) and CustomDumpFlags there, and
ignores HKCU. Our own value records the previous ones: only what we wrote is removed again.
"""

from __future__ import annotations

import json
import sys
import winreg
from contextlib import suppress
from typing import Any

assert sys.platform == "win32"

from perimortem.collector.rule import InstalledRule, Rule
from perimortem.errors import AccessDenied, PerimortemError, UsageError
from perimortem.winapi.token import is_elevated

ROOT = r"SOFTWARE\Microsoft\Windows\Windows Error Reporting\LocalDumps"
_MARK = "perimortem"
_KINDS = {0: "custom", 1: "mini", 2: "full"}
_ACCESS = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
Value = tuple[Any, int]


def install(rule: Rule) -> bool:
    """Write the rule; False if it already existed. Raises AccessDenied."""
    program = _require_program(rule.program)
    _refuse_without_rights()
    wanted = _build_values(rule)
    try:
        rule.folder.mkdir(parents=True, exist_ok=True)
        had_key = _has_key(program)
        with winreg.CreateKeyEx(
            winreg.HKEY_LOCAL_MACHINE, f"{ROOT}\\{program}", 0, _ACCESS | winreg.KEY_WRITE
        ) as key:
            mark = _read_mark(key)
            current = {name: _read(key, name) for name in wanted}
            if mark is not None and current == wanted:
                return False
            before = mark["before"] if mark else {n: v for n, v in current.items() if v is not None}
            is_made = mark["is_made"] if mark else not had_key
            # First the mark: everything written after it can be undone.
            note = {"before": before, "is_made": is_made, "wrote": wanted}
            winreg.SetValueEx(key, _MARK, 0, winreg.REG_SZ, json.dumps(note))
            for name, value in wanted.items():
                _write(key, name, value)
    except OSError as error:
        raise _error("set up", program, error) from error
    return True


def _require_program(program: str | None) -> str:
    if program is None:
        raise UsageError("name the program", why="Windows has a rule for each", remedy="server.exe")
    return program


def uninstall(program: str | None) -> bool:
    """Remove what was written, and restore the previous values; False if nothing was ours."""
    program = _require_program(program)
    _refuse_without_rights()
    path = f"{ROOT}\\{program}"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path, 0, _ACCESS | winreg.KEY_WRITE) as key:
            mark = _read_mark(key)
            if mark is None:
                return False
            for name, wrote in mark["wrote"].items():
                if _read(key, name) == _as_value(
                    wrote
                ):  # else it was changed by another program since
                    _write(key, name, _as_value(mark["before"].get(name)))
            winreg.DeleteValue(key, _MARK)
            is_empty = winreg.QueryInfoKey(key)[:2] == (0, 0)
        if mark["is_made"] and is_empty:
            winreg.DeleteKeyEx(winreg.HKEY_LOCAL_MACHINE, path, winreg.KEY_WOW64_64KEY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _error("take away", program, error) from error
    return True


def list_installed() -> list[InstalledRule]:
    """Every rule, ours or not."""
    found = []
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, ROOT, 0, _ACCESS) as root:
            names = [winreg.EnumKey(root, i) for i in range(winreg.QueryInfoKey(root)[0])]
            for name in names:
                with winreg.OpenKey(root, name, 0, _ACCESS) as key:
                    found.append(_read_rule(name, key))
    except FileNotFoundError:
        return found
    except OSError as error:
        raise _error("read", "every program", error) from error
    return found


def _build_values(rule: Rule) -> dict[str, Value | None]:
    """By name; None: must not exist."""
    kind = 2 if rule.types is None else 0
    return {
        "DumpFolder": (str(rule.folder), winreg.REG_EXPAND_SZ),
        "DumpCount": (rule.count, winreg.REG_DWORD),
        "DumpType": (kind, winreg.REG_DWORD),
        "CustomDumpFlags": None if rule.types is None else (int(rule.types), winreg.REG_DWORD),
    }


def _read_rule(name: str, key: winreg.HKEYType) -> InstalledRule:
    folder, count, kind = (_read(key, n) for n in ("DumpFolder", "DumpCount", "DumpType"))
    words = _KINDS.get(kind[0] if kind else 1, "unknown")
    flags = _read(key, "CustomDumpFlags")
    if words == "custom" and flags:
        words = f"{flags[0]:#x}"
    return InstalledRule(
        program=name,
        folder=str(folder[0]) if folder else None,
        count=int(count[0]) if count else None,
        kind=words,
        is_ours=_read_mark(key) is not None,
    )


def _read(key: winreg.HKEYType, name: str) -> Value | None:
    try:
        return winreg.QueryValueEx(key, name)
    except FileNotFoundError:
        return None


def _write(key: winreg.HKEYType, name: str, value: Value | None) -> None:
    if value is None:
        with suppress(FileNotFoundError):
            winreg.DeleteValue(key, name)
    else:
        winreg.SetValueEx(key, name, 0, value[1], value[0])


def _as_value(value: list[Any] | None) -> Value | None:
    return None if value is None else (value[0], value[1])


def _read_mark(key: winreg.HKEYType) -> dict[str, Any] | None:
    """None if we wrote nothing, or if it was damaged."""
    value = _read(key, _MARK)
    try:
        mark = json.loads(value[0]) if value else None
    except (ValueError, TypeError):
        return None
    is_whole = isinstance(mark, dict) and {"before", "is_made", "wrote"} <= mark.keys()
    return mark if is_whole else None


def _has_key(program: str) -> bool:
    try:
        winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, f"{ROOT}\\{program}", 0, _ACCESS).Close()
    except FileNotFoundError:
        return False
    return True


def _refuse_without_rights() -> None:
    if not is_elevated():
        raise AccessDenied(
            "cannot change Windows Error Reporting",
            why="LocalDumps is in HKEY_LOCAL_MACHINE, which only administrators can write",
            remedy="run perimortem as administrator",
        )


def _error(verb: str, program: str, error: OSError) -> PerimortemError:
    kind = AccessDenied if isinstance(error, PermissionError) else PerimortemError
    return kind(f"cannot {verb} LocalDumps of {program}", why=error.strerror or str(error))
