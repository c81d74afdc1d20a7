"""Statuses to words, and the parsers of what the kernel says."""

import sys
from dataclasses import replace

import pytest

from perimortem.errors import UsageError
from perimortem.exits.decode import (
    decode_exit_code,
    decode_wait_status,
    describe_exit,
    explain_code,
)
from perimortem.exits.signals import signal_name, signal_number
from perimortem.model.exits import ExitKind, ExitSource


@pytest.mark.parametrize(
    ("code", "subcode", "words"),
    [
        ("139", None, "SIGSEGV"),
        ("-11", None, "exit code -11" if sys.platform == "win32" else "SIGSEGV"),
        ("SIGSEGV", None, "segmentation"),
        ("segv", None, "SIGSEGV"),
        ("137", None, "SIGKILL"),
        ("0", None, "success"),
        ("127", None, "not found"),
        ("66", None, "EX_NOINPUT"),
        ("256", None, "raw wait status of exit code 1"),
        ("0xC0000409", "7", "FAST_FAIL_FATAL_APP_EXIT"),
        ("0xc0000409", "2", "COOKIE"),
        ("-1073740791", "7", "FAST_FAIL_FATAL_APP_EXIT"),
        ("3221225477", None, "STATUS_ACCESS_VIOLATION"),
        ("C0000005", None, "STATUS_ACCESS_VIOLATION"),
        ("0xE06D7363", None, "C++"),
        ("0x80131623", None, "FailFast"),
        ("0xCFFFFFFF", None, "did not answer"),
        ("0xC0FFEE42", None, "unknown"),
    ],
)
def test_explain(code, subcode, words):
    explained = explain_code(code, subcode)
    assert words in f"{explained.name} {explained.meaning} {explained.detail}"


@pytest.mark.parametrize(
    "code", ["", "x", "99999999999", "1e3", "0x", "--", "1; ls", "0x1FFFFFFFF"]
)
def test_nonsense_is_refused(code):
    with pytest.raises(UsageError):
        explain_code(code)


def test_only_fast_fail_has_subcodes():
    with pytest.raises(UsageError, match="no subcode"):
        explain_code("139", "7")
    with pytest.raises(UsageError, match="no subcode"):
        explain_code("0xC0000005", "7")


def test_wait_statuses():
    ended = decode_wait_status(42 << 8, ExitSource.PIDFD_INFO)
    assert (ended.kind, ended.code) == (ExitKind.EXITED, 42)
    dumped = decode_wait_status(11 | 0x80, ExitSource.PIDFD_INFO)
    assert (dumped.kind, dumped.signal, dumped.core_dumped) == (ExitKind.SIGNALED, 11, True)
    assert "SIGSEGV, core dumped" in describe_exit(dumped)


def test_signal_names_go_both_ways():
    assert signal_name(36) == "SIGRTMIN+2"
    assert all(signal_number(signal_name(number)) == number for number in range(1, 32))


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0, ExitKind.EXITED, "exited with status 0"),
        (3, ExitKind.EXITED, "exited with status 3 (also the status of the C runtime's abort())"),
        (139, ExitKind.EXITED, "exited with status 139"),
        (0xFFFFFFFF, ExitKind.EXITED, "exited with status 0xffffffff (-1)"),
        (0x00ABCDEF, ExitKind.EXITED, "exited with status 0x00abcdef"),
        (0xC0000005, ExitKind.EXCEPTION, "ended by STATUS_ACCESS_VIOLATION, 0xc0000005"),
        (0xC0001234, ExitKind.EXCEPTION, "ended by unknown NTSTATUS"),
        (0xE06D7363, ExitKind.EXCEPTION, "ended by C++ exception"),
        (0x80000003, ExitKind.EXCEPTION, "ended by STATUS_BREAKPOINT"),
        (0xE0000001, ExitKind.EXITED, "exited with status 0xe0000001"),
    ],
)
def test_exit_codes_of_windows(code, kind, words):
    end = decode_exit_code(code, ExitSource.PROCESS_HANDLE)
    assert (end.kind, end.code) == (kind, code)
    assert describe_exit(end).startswith(words)


def test_the_subcode_of_a_fast_fail_is_explained():
    end = replace(decode_exit_code(0xC0000409, ExitSource.PROCESS_HANDLE), subcode=7)
    assert "subcode 7: FAST_FAIL_FATAL_APP_EXIT: abort()" in describe_exit(end)
