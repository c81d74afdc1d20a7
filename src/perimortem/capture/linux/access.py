"""May we read this process, and if not, which right is missing? Is another tracer attached?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import AccessDenied, CaptureFailed, ProcessGone

_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_CAP_SYS_PTRACE = 1 << 19


@dataclass(frozen=True)
class ProcessStatus:
    """What /proc/PID/status says about access."""

    uids: tuple[int, ...]
    tracer_pid: int
    core_dumping: bool
    state: str
    thread_count: int

    @property
    def is_dead(self) -> bool:
        """A zombie, and not just a leader that exited by pthread_exit while threads live."""
        return self.state in ("Z", "X") and self.thread_count <= 1


def read_status(pid: int) -> ProcessStatus:
    """Raises :class:`ProcessGone`."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError as error:
        raise ProcessGone(f"there is no process {pid}") from error
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        return ProcessStatus(
            uids=tuple(int(uid) for uid in fields["Uid"].split()),
            tracer_pid=int(fields.get("TracerPid", "0")),
            core_dumping=fields.get("CoreDumping", "0").strip() == "1",
            state=fields["State"].split()[0],
            thread_count=int(fields.get("Threads", "1")),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ProcessGone(f"process {pid} has ended", why="its status cannot be read") from error


def check_access(pid: int, *, is_traced: bool = True) -> None:
    """Refuse before anything is touched; the error names the obstacle or the missing right.

    ``is_traced``: whether it is to be attached to, which a debugger would prevent.
    """
    status = read_status(pid)
    if status.is_dead:
        raise ProcessGone(f"process {pid} has ended", why="it is a zombie")
    if status.core_dumping:
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
    if _is_kernel_thread(pid):
        raise CaptureFailed(f"process {pid} is a kernel thread", why="it has no memory to dump")
    if _elf_class(pid) == 1:
        raise CaptureFailed(
            f"process {pid} is a 32-bit program", why="only 64-bit programs can be dumped"
        )


def denied_error(pid: int, error: OSError) -> AccessDenied:
    """Why ptrace was refused (ptrace(2), "Ptrace access mode checking")."""
    why, remedy = f"ptrace: {error.strerror}", "run perimortem as root"
    try:
        status = read_status(pid)
    except ProcessGone:
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
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & _CAP_SYS_PTRACE)
    except (OSError, ValueError):
        pass
    return False


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "gone"


def _is_kernel_thread(pid: int) -> bool:
    try:
        flags = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[6])
    except (OSError, ValueError, IndexError):
        return False
    return bool(flags & 0x00200000)  # PF_KTHREAD


def _elf_class(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            head = file.read(5)
    except OSError:
        return None
    return head[4] if len(head) == 5 and head[:4] == b"\x7fELF" else None
