"""Statuses to words, and the parsers of what the kernel says."""

import pytest

from perimortem.errors import UsageError
from perimortem.exits.decode import decode_wait_status, describe_exit, explain_code
from perimortem.exits.linux.kernel_log import derive_words
from perimortem.exits.signals import signal_name, signal_number
from perimortem.model.exits import ExitKind, ExitSource
from perimortem.proc.linux.stat import ProcessStat


@pytest.mark.parametrize(
    ("code", "subcode", "words"),
    [
        ("139", None, "SIGSEGV"),
        ("-11", None, "SIGSEGV"),
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


def test_stat_of_a_hostile_name():
    fields = " ".join(["S", "17", *["0"] * 9, "5", "6", *["0"] * 6, "1234", *["0"] * 29, "139"])
    raw = b"4711 (a) Z 1 (\n) " + fields.encode() + b" 0 0"
    facts = ProcessStat.parse(raw, may_see_exit_code=True)
    assert facts is not None
    assert (facts.name, facts.state, facts.parent_pid) == ("a) Z 1 (\n", "S", 17)
    assert (facts.start_time_ticks, facts.exit_code) == (1234, 139)
    assert (facts.user_ticks, facts.kernel_ticks) == (5, 6)


def test_an_exit_code_that_may_not_be_seen_is_unknown_not_zero():
    fields = " ".join(["Z", "1", *["0"] * 49])
    assert ProcessStat.parse(b"1 (x) " + fields.encode(), may_see_exit_code=False).exit_code is None
    assert ProcessStat.parse(b"1 (x) " + fields.encode(), may_see_exit_code=True).exit_code == 0


@pytest.mark.parametrize("raw", [b"", b"1 (x", b"1 (x) S", b")(", b"1 (x) " + b"? " * 60])
def test_a_cut_stat_is_none(raw):
    assert ProcessStat.parse(raw, may_see_exit_code=True) is None


def test_kernel_words_are_of_that_pid_only():
    lines = [
        "server[4711]: segfault at 10 ip 00005587aa sp 00007ffc error 6 in "
        "server[1139,558788000000+1000]"
        " likely on CPU 1 (core 1, socket 0)",
        "traps: other[9] general protection fault ip:1 sp:2 error:0 in libx.so.1[5af3,7f00+100]",
        "Out of memory: Killed process 55 (big) total-vm:1kB, anon-rss:2kB",
        "Memory cgroup out of memory: Killed process 551 (small) total-vm:1kB",
        'audit: type=1326 audit(1.2:3): auid=0 uid=0 pid=77 comm="x" sig=31 arch=c000003e syscall=1',
    ]
    fault = derive_words(lines, 4711, set()).fault
    assert (fault.module, fault.module_offset) == ("server", 0x1139)
    assert "CPU" not in fault.text
    assert derive_words(lines, 9, set()).fault.module_offset == 0x5AF3
    assert "big" in derive_words(lines, 55, set()).oom_kill
    assert "small" in derive_words(lines, 551, set()).oom_kill
    assert derive_words(lines, 5, set()).oom_kill is None
    assert derive_words(lines, 77, set()).seccomp
    assert derive_words(lines, 4700, {4700, 4711}).fault == fault
    assert derive_words(lines, 7, set()) == derive_words([], 7, set())
