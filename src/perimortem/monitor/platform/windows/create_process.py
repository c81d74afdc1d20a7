"""Start the target: same console, same handles, same directory as without us."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

assert sys.platform == "win32"

from perimortem.errors import LaunchFailed
from perimortem.model.process import ProcessRef
from perimortem.monitor.platform.windows.job import Job
from perimortem.proc import read_stat
from perimortem.text import printable
from perimortem.winapi import kernel32

_CREATE_SUSPENDED = 0x4
_ERROR_ELEVATION_REQUIRED = 740
_ERROR_BAD_EXE_FORMAT = 193
_PATH_MAX = 260
_COMMAND_CHARACTERS = set('&|<>^%"\r\n')
_SCRIPTS = (".bat", ".cmd")
"""CreateProcess finds their interpreter by the command line."""


def find_program(name: str) -> Path:
    """The file that the command names. Raises :class:`LaunchFailed` with 127 or 126."""
    found = shutil.which(name)
    if found:
        return _as_on_disk(Path(found).absolute())
    has_path = "\\" in name or "/" in name
    if has_path and os.path.isdir(name):
        raise LaunchFailed(f"cannot run {name}", why="it is a directory")
    if has_path and os.path.exists(name):
        raise LaunchFailed(
            f"cannot run {name}",
            why="its name does not end like a program's",
            remedy="%PATHEXT% lists the extensions of programs",
        )
    if has_path:
        why, remedy = f"there is no file {name}", f"the working directory is {Path.cwd()}"
    else:
        why, remedy = f"command not found: {name}", "is it installed, and on PATH?"
    raise LaunchFailed(f"cannot run {name}", why=why, remedy=remedy, exit_status=127)


def _as_on_disk(path: Path) -> Path:
    """%PATHEXT% finds cmd.EXE, which is cmd.exe."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if entry.name.lower() == path.name.lower()]
    except OSError:
        return path
    return path if path.name in names or not names else path.with_name(names[0])


def create_process(
    program: Path, argv: tuple[str, ...], job: Job | None
) -> tuple[ProcessRef, subprocess.Popen[bytes]]:
    """Start ``argv``, in ``job`` before its first instruction, with our environment unchanged: Python's
    copy has all names in capitals. Raises :class:`LaunchFailed`."""
    is_script = program.suffix.lower() in _SCRIPTS
    if is_script:
        _refuse_commands(argv)
    try:
        popen = subprocess.Popen(
            argv,
            executable=None if is_script else str(program),
            close_fds=False,
            creationflags=_CREATE_SUSPENDED,
        )
    except OSError as error:
        raise _launch_error(str(program), error) from error
    try:
        if job is not None:
            job.assign(int(popen._handle))  # type: ignore[attr-defined]
        facts = read_stat(popen.pid)
    finally:
        kernel32.NtResumeProcess(int(popen._handle))  # type: ignore[attr-defined]
    if facts is None:
        raise LaunchFailed(f"cannot watch {argv[0]}", why="its times are refused", exit_status=125)
    return ProcessRef(popen.pid, facts.start_time_ticks), popen


def _refuse_commands(argv: tuple[str, ...]) -> None:
    """cmd.exe parses the arguments of a batch file as commands again, and no quoting prevents that."""
    for argument in argv[1:]:
        if set(argument) & _COMMAND_CHARACTERS:
            raise LaunchFailed(
                f"cannot run {argv[0]}",
                why=f"cmd.exe would take a part of '{printable(argument)}' as a command",
                remedy="start it by cmd /c with the quoting that you mean",
            )


def _launch_error(name: str, error: OSError) -> LaunchFailed:
    code = getattr(error, "winerror", None)
    if len(name) >= _PATH_MAX:
        return LaunchFailed(
            f"cannot run {name}",
            why=f"its path has {len(name)} characters, of which CreateProcess takes {_PATH_MAX - 1}",
            remedy="start it by a shorter one: subst gives a folder a drive letter",
        )
    if code == _ERROR_ELEVATION_REQUIRED:
        return LaunchFailed(
            f"cannot run {name}",
            why="it requires administrator rights",
            remedy="run perimortem as administrator",
        )
    if code == _ERROR_BAD_EXE_FORMAT:
        return LaunchFailed(f"cannot run {name}", why="it is not a program for this Windows")
    return LaunchFailed(f"cannot run {name}", why=error.strerror or str(error))
