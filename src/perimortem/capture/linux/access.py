"""May we read this process, and if not, which right is missing? Is another tracer attached?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.binary.elf import ELFCLASS32, read_elf_class
from perimortem.errors import AccessDenied, CaptureFailed, ProcessGone
from perimortem.procfs.file import read_file
from perimortem.procfs.stat import ProcessStat, read_stat
from perimortem.procfs.status import read_status
from perimortem.text import printable

_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_CAP_SYS_PTRACE = 1 << 19
_ELF_CLASS_BYTES = 5


def require_process(pid: int) -> ProcessStat:
    """Its facts. Raises :class:`ProcessGone`."""
    facts = read_stat(pid)
    if facts is None:
        raise ProcessGone(f"there is no process {pid}")
    return facts


def check_access(pid: int, *, is_traced: bool = True) -> None:
    """Refuse before anything is touched; the error names the obstacle or the missing right.

    ``is_traced``: whether it is to be attached to, which a debugger would prevent.
    """
    facts = require_process(pid)
    if facts.is_dead:
        raise ProcessGone(f"process {pid} has ended", why="it is a zombie")
    status = read_status(pid)
    if status is None:
        raise ProcessGone(f"process {pid} has ended")
    if status.is_dumping_core:
        raise CaptureFailed(
            f"process {pid} is already being dumped",
            why="the kernel is writing its core (CoreDumping: 1)",
            remedy="see the result: coredumpctl info, or the core file",
        )
    if status.tracer_pid and is_traced:
        raise CaptureFailed(
            f"process {pid} is traced by process {status.tracer_pid} ({_name(status.tracer_pid)})",
            why="a process has one tracer at most",
            remedy="detach that debugger first",
        )
    if facts.is_kernel_thread:
        raise CaptureFailed(f"process {pid} is a kernel thread", why="it has no memory to dump")
    if read_elf_class(read_file(f"/proc/{pid}/exe", _ELF_CLASS_BYTES)) == ELFCLASS32:
        raise CaptureFailed(
            f"process {pid} is a 32-bit program", why="only 64-bit programs can be dumped"
        )


def denied_error(pid: int, error: OSError) -> AccessDenied:
    """Why ptrace was refused (ptrace(2), "Ptrace access mode checking")."""
    why, remedy = f"ptrace: {error.strerror}", "run perimortem as root"
    status = read_status(pid)
    if status is None:
        return AccessDenied(f"cannot read process {pid}", why="it has ended")
    me = os.geteuid()
    scope = ptrace_scope()
    if status.tracer_pid:
        why = f"it is traced by process {status.tracer_pid} ({_name(status.tracer_pid)})"
        remedy = "detach that debugger first"
    elif any(uid != me for uid in status.uids[:3]) and not has_cap_sys_ptrace():
        why = f"it runs as uid {status.uids[1]}, you are uid {me}, and CAP_SYS_PTRACE is missing"
        remedy = "run perimortem as that user or as root"
    elif scope == 3:
        why = "kernel.yama.ptrace_scope is 3: tracing is disabled"
        remedy = "it can be lifted only by a reboot with another setting"
    elif scope == 2 and not has_cap_sys_ptrace():
        why = "kernel.yama.ptrace_scope is 2 and CAP_SYS_PTRACE is missing"
    elif scope == 1 and not has_cap_sys_ptrace():
        why = "kernel.yama.ptrace_scope is 1 and it is not a child of perimortem"
        remedy = "start it with 'perimortem run --', or sysctl kernel.yama.ptrace_scope=0"
    elif has_cap_sys_ptrace():
        why = f"{why}, although CAP_SYS_PTRACE is there: a security module or namespace forbids it"
        remedy = "run perimortem where that process was started from, as the host's root"
    else:
        why = "it is not dumpable (it changed its uid, holds capabilities, or asked for that)"
    return AccessDenied(f"cannot read process {pid}", why=why, remedy=remedy)


def ptrace_scope() -> int | None:
    """Yama's setting, or None if Yama is not built in."""
    try:
        return int(_YAMA.read_text())
    except (OSError, ValueError):
        return None


def has_cap_sys_ptrace() -> bool:
    """Whether this process may trace processes of other users."""
    status = read_status("self")
    return status is not None and bool(status.effective_capabilities & _CAP_SYS_PTRACE)


def _name(pid: int) -> str:
    facts = read_stat(pid)
    return printable(facts.name) if facts is not None else "gone"
