"""Parsers of what Linux says of processes: /proc and the kernel's log."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("text of Linux's /proc and kernel log", allow_module_level=True)

from perimortem.exits.linux.kernel_log import derive_words
from perimortem.exits.linux.kernel_log_rate import is_below_limit
from perimortem.proc.linux import container
from perimortem.procfs.cgroup import parse_groups
from perimortem.procfs.stat import parse_stat
from perimortem.procfs.status import ProcessStatus, find_field


def test_stat_of_a_hostile_name():
    fields = " ".join(["S", "17", *["0"] * 9, "5", "6", *["0"] * 6, "1234", *["0"] * 29, "139"])
    raw = b"4711 (a) Z 1 (\n) " + fields.encode() + b" 0 0"
    facts = parse_stat(raw, may_see_exit_code=True)
    assert facts is not None
    assert (facts.name, facts.state, facts.parent_pid) == ("a) Z 1 (\n", "S", 17)
    assert (facts.start_time_ticks, facts.exit_code) == (1234, 139)
    assert (facts.user_ticks, facts.kernel_ticks) == (5, 6)


def test_an_exit_code_that_may_not_be_seen_is_unknown_not_zero():
    fields = " ".join(["Z", "1", *["0"] * 49])
    assert parse_stat(b"1 (x) " + fields.encode(), may_see_exit_code=False).exit_code is None
    assert parse_stat(b"1 (x) " + fields.encode(), may_see_exit_code=True).exit_code == 0


@pytest.mark.parametrize("raw", [b"", b"1 (x", b"1 (x) S", b")(", b"1 (x) " + b"? " * 60])
def test_a_cut_stat_is_none(raw):
    assert parse_stat(raw, may_see_exit_code=True) is None


def log_lines(*times):
    return b"".join(b"<6>[%12.6f] words of [0.5] some driver\n" % at for at in times)


@pytest.mark.parametrize(
    ("lines", "is_below"),
    [
        (log_lines(1.0, 2.0, 50.0), True),
        (log_lines(1.0, *[99.0 + at / 100 for at in range(9)]), True),
        (log_lines(1.0, *[99.0 + at / 100 for at in range(10)]), False),
        (log_lines(*[80.0 + at / 100 for at in range(20)]), True),
        (log_lines(*[99.9] * 400), False),
        (b"<6>a log without times\n", False),
        (b"", False),
    ],
)
def test_the_kernel_may_have_logged_no_fault_because_it_logged_too_much(lines, is_below):
    assert is_below_limit(lines, 100.0, 5.0, 10) is is_below


def test_on_a_machine_that_runs_for_long_the_clock_of_the_log_is_not_trusted():
    month_s = 30 * 86400.0
    lines = log_lines(1.0, *[month_s - 600.0] * 10)
    assert not is_below_limit(lines, month_s, 5.0, 10)


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


ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"0::/docker/{ID}",
        f"0::/system.slice/docker-{ID}.scope",
        f"0::/machine.slice/libpod-{ID}.scope/container",
        f"0::/kubepods/burstable/pod3f9c/cri-containerd-{ID}.scope",
        f"12:pids:/docker/{ID}\n0::/init.scope",
    ],
)
def test_a_container_is_named_as_its_tools_show_it(text):
    assert container._parse(text) == ID[:12]


@pytest.mark.parametrize(
    "text",
    ["", "0::/", "0::/user.slice/user-1000.slice", f"0::/docker/{ID[:63]}", f"0::/x{ID}.service"],
)
def test_outside_of_a_container_there_is_no_name(text):
    assert container._parse(text) is None


STATUS = (
    b"Name:\tx\\nUid: 9\nState:\tS (sleeping)\nNSpid:\t4711\t7\nTracerPid:\t42\n"
    b"Uid:\t1000\t1001\t1000\t1000\nVmRSS:\t    1316 kB\nVmSwap:\t       4 kB\nCoreDumping:\t1\n"
    b"CapEff:\t0000000000080000\nSeccomp:\t2\nSeccomp_filters:\t1\n"
)


def test_a_status_under_a_hostile_name():
    status = ProcessStatus(STATUS)
    assert status.uids[:2] == (1000, 1001)
    assert status.numbers == (4711, 7)
    assert (status.tracer_pid, status.is_dumping_core, status.has_seccomp) == (42, True, True)
    assert status.held_bytes == 1320 << 10
    assert status.effective_capabilities == 1 << 19


def test_lines_that_a_status_does_not_have():
    """Threads of the kernel have no memory, old kernels no CoreDumping."""
    status = ProcessStatus(b"Name:\tkthreadd\nState:\tS (sleeping)\n")
    assert (status.uids, status.numbers, status.tracer_pid, status.held_bytes) == ((), (), 0, 0)
    assert not status.is_dumping_core
    assert not status.has_seccomp
    assert find_field(status.raw, "Name") == "kthreadd"
    assert find_field(status.raw, "VmRSS") is None


def test_the_groups_of_a_process():
    groups = parse_groups(b"12:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c:d\nnonsense\n")
    assert [(g.controllers, g.path) for g in groups] == [
        (("cpu", "cpuacct"), "/a"),
        (("name=systemd",), "/b"),
        ((), "/c:d"),
    ]
