"""Start the target: same terminal, same descriptors, same process group, same signals as without us."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import CannotWatch, LaunchFailed, PerimortemError
from perimortem.model.process import ProcessRef
from perimortem.proc import read_stat

_PR_SET_PTRACER = 0x59616D61


@dataclass
class Launched:
    """A started target. ``popen`` is kept only so that Python does not reap it for us."""

    process: ProcessRef
    popen: subprocess.Popen[bytes]


def find_program(name: str) -> Path:
    """The file that the command names. Raises :class:`LaunchFailed` with 127 or 126."""
    found = shutil.which(name)
    if found:
        return Path(found).absolute()
    if "/" in name and os.path.isdir(name):
        raise LaunchFailed(f"cannot run {name}", why="it is a directory")
    if "/" in name and os.path.exists(name):
        raise LaunchFailed(
            f"cannot run {name}", why="it is not executable", remedy=f"chmod +x {name}"
        )
    if "/" in name:
        why, remedy = f"there is no file {name}", f"the working directory is {Path.cwd()}"
    else:
        why, remedy = f"command not found: {name}", "is it installed, and on PATH?"
    raise LaunchFailed(f"cannot run {name}", why=why, remedy=remedy, exit_status=127)


def take_children() -> bool:
    """Take over SIGCHLD; True if it was ignored, since the target must inherit that.

    Some supervisors ignore it; the kernel would then reap the target before we can."""
    was_ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return was_ignored


@dataclass(frozen=True)
class LaunchOptions:
    """The signal state that the target must inherit."""

    environment: dict[str, str]
    signal_mask: set[signal.Signals]
    ignores_children: bool = False
    stdout: int | None = None
    stderr: int | None = None


def launch(argv: tuple[str, ...], options: LaunchOptions) -> Launched:
    """Start ``argv``. Raises :class:`LaunchFailed`, or CannotWatch where we lack what it takes."""
    try:
        popen = subprocess.Popen(
            argv,
            env=options.environment,
            stdout=options.stdout,
            stderr=options.stderr,
            close_fds=False,  # our own are close-on-exec; those we inherited are the target's
            preexec_fn=_prepare_child(os.getpid(), options),
        )
    except OSError as error:
        raise _launch_error(argv[0], error) from error
    facts = read_stat(popen.pid)  # present even when it has ended: only we reap it
    if facts is None:
        raise LaunchFailed(f"cannot watch {argv[0]}", why="/proc is not mounted", exit_status=125)
    return Launched(ProcessRef(popen.pid, facts.start_time_ticks), popen)


def _prepare_child(monitor_pid: int, options: LaunchOptions) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        if options.ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, options.signal_mask)
        # Under Yama's ptrace_scope 1 only a declared process and its children may read the target.
        libc.prctl(_PR_SET_PTRACER, monitor_pid, 0, 0, 0)

    return prepare


def _launch_error(name: str, error: OSError) -> PerimortemError:
    if error.errno == errno.ENOENT:
        return LaunchFailed(
            f"cannot run {name}",
            why="its interpreter or loader was not found",
            remedy="check its first line (#!), or run 'file' on it",
            exit_status=127,
        )
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        return CannotWatch(
            f"cannot watch {name}",
            why=error.strerror or str(error),
            remedy="raise the limit (ulimit -a shows all limits)",
        )
    if error.errno == errno.ENOEXEC:
        return LaunchFailed(
            f"cannot run {name}",
            why="it is neither a program for this machine nor a script with #!",
        )
    return LaunchFailed(f"cannot run {name}", why=error.strerror or str(error))
