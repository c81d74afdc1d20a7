"""What this machine and user permit. Where possible, checks try it rather than look it up."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

assert sys.platform == "linux"

from perimortem.agent.library import find_preload_library
from perimortem.capture.linux import ptrace
from perimortem.capture.linux.access import has_cap_sys_ptrace, ptrace_scope
from perimortem.errors import PerimortemError
from perimortem.exits.linux import pidfd_info
from perimortem.exits.linux.proc_connector import ProcConnector
from perimortem.exits.linux.signal_trace import SignalTrace
from perimortem.monitor.doctor import Check, better, check_loop, check_run_dir, check_store, needed
from perimortem.wire.layout import SERVICE_SOCKET_NAME


def examine() -> list[Check]:
    """Every check, in the order of the main job."""
    checks: tuple[Callable[[], Check], ...] = (
        _check_agent,
        check_run_dir,
        check_store,
        check_loop,
        _check_pidfd,
        _check_ptrace_child,
        _check_ptrace_others,
        _check_exit_info,
        _check_proc_connector,
        _check_kernel_log,
        _check_tracefs,
        _check_core_pattern,
        _check_stack_tools,
        _check_sandbox,
    )
    return [check() for check in checks]


def _check_agent() -> Check:
    library = find_preload_library()
    if library is None:
        return needed("agent", False, "the C library is not built", "pip install .")
    return needed("agent", True, str(library))


def _check_pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return needed(
            "pidfd", False, f"pidfd_open: {error.strerror}", "Linux 5.3 or later is needed"
        )
    return needed("pidfd", True, "processes are held by pidfd")


def _check_ptrace_child() -> Check:
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
    try:
        ptrace.seize(child.pid)
    except OSError as error:
        return needed(
            "dump of a child",
            False,
            f"ptrace: {error.strerror}",
            "allow ptrace: in containers --cap-add=SYS_PTRACE or a newer seccomp profile",
        )
    else:
        return needed("dump of a child", True, "ptrace of own children is allowed")
    finally:
        child.kill()
        child.wait()


def _check_ptrace_others() -> Check:
    name = "dump of others"
    scope = ptrace_scope()
    if has_cap_sys_ptrace():
        return better(name, True, "CAP_SYS_PTRACE: any process")
    if scope in (None, 0):
        return better(name, True, "processes of the same user")
    return better(
        name,
        False,
        f"kernel.yama.ptrace_scope is {scope}: only what 'perimortem run' started",
        "run as root, or sysctl kernel.yama.ptrace_scope=0",
    )


def _check_exit_info() -> Check:
    name = "exit status of others"
    fd = os.pidfd_open(os.getpid())
    try:
        supported = pidfd_info.is_supported(fd)
    finally:
        os.close(fd)
    release = os.uname().release
    numbers = [int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit()]
    if supported and numbers >= [6, 15]:
        return better(name, True, "PIDFD_GET_INFO gives the status of any process")
    return better(
        name,
        False,
        f"Linux {release} does not report the status of processes that are not our children",
        "Linux 6.15, or root for the proc connector; 'perimortem run' always knows",
    )


def _check_proc_connector() -> Check:
    try:
        ProcConnector().close()
    except OSError as error:
        return better(
            "proc connector",
            False,
            f"{error.strerror}",
            "CAP_NET_ADMIN in the first network namespace (root)",
        )
    return better("proc connector", True, "ends of all processes are announced")


def _check_kernel_log() -> Check:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        return better(
            "kernel log",
            False,
            f"/dev/kmsg: {error.strerror}; out-of-memory kills look like any SIGKILL",
            "run as root, or sysctl kernel.dmesg_restrict=0",
        )
    return better("kernel log", True, "faults and out-of-memory kills are logged with their pid")


def _check_tracefs() -> Check:
    try:
        SignalTrace().close()
    except OSError as error:
        return better(
            "tracefs",
            False,
            f"the sender of a SIGKILL cannot be traced: {error.strerror or error}",
            "run as root, outside of containers",
        )
    return better(
        "tracefs", True, "senders of fatal signals are traced, in our own tracefs instance"
    )


def _check_core_pattern() -> Check:
    from perimortem.collector import list_installed  # `run` does without it

    name = "core_pattern"
    try:
        rules = list_installed()
        pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    except (OSError, PerimortemError) as error:
        return better(name, False, f"cannot be read: {error}")
    ours = next((rule for rule in rules if rule.is_ours), None)
    if ours is None:
        handler = pattern[1:].split()[0] if pattern.startswith("|") and len(pattern) > 1 else ""
        finding = f"crashes go to {handler}; it is left alone" if handler else f"file '{pattern}'"
        return better(name, True, f"{finding} (perimortem system install)")
    if ours.folder is None:
        return better(name, False, ours.kind, "perimortem system install")
    if not os.path.exists(f"{ours.folder}/{SERVICE_SOCKET_NAME}"):
        return better(
            name,
            False,
            f"ours, but no monitor listens at {ours.folder}; cores go where they went before",
            "perimortem monitor, as a service",
        )
    return better(
        name, True, f"every program that dumps core comes to the monitor at {ours.folder}"
    )


def _check_stack_tools() -> Check:
    helpers = {
        "pystack": "Python frames: pip install 'perimortem[stacks]'",
        "drgn": "files and lines sooner: pip install 'perimortem[lines]'",
        "symbolic": "PDBs, and lines of Rust sooner: pip install 'perimortem[lines]'",
        "capstone": "disassembly: pip install capstone",
    }
    missing = [remedy for name, remedy in helpers.items() if importlib.util.find_spec(name) is None]
    there = [name for name in helpers if importlib.util.find_spec(name) is not None]
    if not missing:
        return better("stacks", True, f"our own, with {', '.join(there)}")
    return better("stacks", False, "our own, native frames and names", "; ".join(missing))


def _check_sandbox() -> Check:
    """In another process: it cannot be undone."""
    code = (
        "from perimortem.sandbox import confine; from perimortem.sandbox.confinement import Confinement;"
        "print(*confine(Confinement()), sep='; ')"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    missing = result.stdout.strip() if result.returncode == 0 else "it failed"
    return better(
        "sandbox",
        not missing,
        missing or "examinations have no network, write no files, trace and start no processes",
        "Linux 5.13 or later, with Landlock enabled",
    )
