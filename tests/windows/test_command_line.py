"""Every command, as a user types it."""

from __future__ import annotations

import json

import pytest

from perimortem.dumping.windows import refusal
from perimortem.dumping.windows.rights import choose_rights
from perimortem.errors import AccessDenied, CaptureFailed, ProcessGone
from perimortem.model.dump import MINI
from perimortem.winapi import kernel32
from perimortem.winapi.token import IntegrityLevel


def test_list_show_and_explain(perimortem, programs):
    perimortem.call("run", "-q", "--", programs / "fast_fail.exe")
    rows = json.loads(perimortem.call("list", "--json").stdout)
    assert [(row["verdict"], row["name"]) for row in rows] == [("crash", "fast_fail.exe")]
    assert "fast_fail.exe" in perimortem.call("list").stdout
    shown = perimortem.call("show", rows[0]["number"]).stdout
    assert "STATUS_STACK_BUFFER_OVERRUN" in shown
    assert "GetExitCodeProcess" in shown
    explained = perimortem.call("explain", "0xC0000409", "7").stdout
    assert "FAST_FAIL_FATAL_APP_EXIT" in explained


def test_doctor_says_what_is_missing(perimortem):
    checks = json.loads(perimortem.call("doctor", "--json").stdout)
    by_name = {check["name"]: check for check in checks}
    assert by_name["agent"]["ok"]
    assert by_name["dumps"]["ok"]
    assert all(check["remedy"] for check in checks if not check["ok"])


def test_config_and_help(perimortem):
    assert "threshold" in perimortem.call("config").stdout
    for command in ("run", "watch", "dump", "inspect", "list", "show", "explain", "system"):
        result = perimortem.call(command, "--help")
        assert result.returncode == 0, result.stderr
        assert "Examples" in result.stdout


def test_a_data_directory_that_is_a_file_keeps_no_program_from_running(
    perimortem, programs, tmp_path
):
    """Its report waits in the run directory until the next start stores it."""
    (tmp_path / "file").write_text("")
    perimortem.environment = {"PERIMORTEM_DATA_DIR": str(tmp_path / "file")}
    strict = perimortem.call("run", "--must-watch", "--", programs / "beats.exe")
    assert strict.returncode == 125
    assert strict.stderr.count("\n") == 1, strict.stderr
    result = perimortem.call("run", "--", programs / "beats.exe")
    assert result.returncode == 0
    assert "this report is kept in" in result.stderr
    perimortem.environment = {}
    result = perimortem.call("run", "--", programs / "beats.exe")
    assert "stored now, after an earlier failure: incident" in result.stderr


@pytest.fixture()
def rights(monkeypatch):
    """Which rights are granted, and the integrity levels (theirs, ours): Wine refuses no one."""

    def set_up(granted: int, theirs: int, ours: int) -> None:
        levels = {None: IntegrityLevel(ours)}
        monkeypatch.setattr(refusal, "_may", lambda _pid, right: bool(granted & right))
        monkeypatch.setattr(
            refusal, "read_integrity_level", lambda pid: levels.get(pid, IntegrityLevel(theirs))
        )

    return set_up


def test_a_refusal_names_the_missing_right_and_the_level(rights):
    rights(kernel32.PROCESS_QUERY_INFORMATION, theirs=0x3000, ours=0x2000)
    error = refusal.denied_error(4711, choose_rights(MINI), kernel32.ERROR_ACCESS_DENIED)
    assert isinstance(error, AccessDenied)
    assert "PROCESS_VM_READ and PROCESS_DUP_HANDLE is refused" in str(error)
    assert "its integrity level is high, yours is medium" in str(error)
    assert "run perimortem as administrator" in str(error)


def test_a_protected_process_is_said_to_be_one(rights):
    rights(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, theirs=0x2000, ours=0x3000)
    error = refusal.denied_error(4711, choose_rights(MINI), kernel32.ERROR_ACCESS_DENIED)
    assert "a protected process cannot be dumped" in str(error)


def test_a_process_that_is_gone_is_distinguished_from_other_failures(rights):
    rights(0, 0x2000, 0x2000)
    gone = refusal.denied_error(4711, choose_rights(MINI), kernel32.ERROR_INVALID_PARAMETER)
    assert isinstance(gone, ProcessGone)
    assert isinstance(refusal.denied_error(4711, 0, 8), CaptureFailed)


def test_a_32_bit_target_is_refused_in_one_line(monkeypatch):
    """On a fake: this Wine has no 32-bit programs."""

    def is_wow64(_handle, answer):
        answer._obj.value = 1
        return 1

    monkeypatch.setattr(kernel32, "IsWow64Process", is_wow64)
    with pytest.raises(CaptureFailed, match="only 64-bit programs can be dumped"):
        refusal.refuse_32_bit(4711, 0)
