"""Kills at chosen system calls, by strace's fault injection.

strace runs without -f: it traces the victim and nothing that the victim starts, so that dumps can still
be taken of the target. The signal comes as the call is entered, and the call is not done; "after call N"
is the same as "before the next one".
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

CHANGES = (
    "openat", "mkdir", "write", "pwrite64", "writev", "ftruncate", "fallocate", "rename",
    "renameat2", "link", "linkat", "symlink", "unlink", "unlinkat", "rmdir", "fsync", "fdatasync",
    "chmod", "fchmod", "bind", "listen", "connect", "accept4", "sendto", "sendmsg", "clone",
    "clone3", "vfork", "kill", "tgkill", "pidfd_send_signal", "ptrace", "wait4", "waitid",
    "process_vm_writev", "exit_group",
)  # fmt: skip
"""System calls that change something that outlives the caller, or that another process can see."""
_LINE = re.compile(r"(?P<call>\w+)\((?P<rest>.*)")


def find_strace() -> str | None:
    return shutil.which("strace")


def list_calls(trace: Path) -> list[tuple[str, int]]:
    """(system call, its number among those of that name), of each that changed something."""
    seen: Counter[str] = Counter()
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or match["call"] not in CHANGES:
            continue
        call = match["call"]
        seen[call] += 1
        if call != "openat" or re.search(r"O_CREAT|O_TRUNC", match["rest"]):
            found.append((call, seen[call]))
    return found


def trace_options(output: Path, point: tuple[str, int] | None) -> list[str]:
    """Records ``output``; kills at ``point``."""
    options = ["-o", str(output), "-s", "0", "-e", f"trace={','.join(CHANGES)}"]
    if point is not None:
        call, number = point
        options += ["-e", f"inject={call}:signal=KILL:when={number}"]
    return options


def attach(pid: int, options: Sequence[str]) -> subprocess.Popen[str]:
    """Returns once the process is traced, or gone."""
    tracer = subprocess.Popen(
        ["strace", *options, "-p", str(pid)], text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tracer.stderr is not None
    tracer.stderr.readline()
    return tracer
