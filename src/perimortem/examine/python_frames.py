"""Python frames: by pystack for stopped processes and cores; by py-spy where pystack is unavailable.

Both only read and never stop the process themselves: we stop it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from perimortem.errors import PerimortemError
from perimortem.model.python_stack import PythonFrame, PythonThread
from perimortem.sandbox import ask_confined
from perimortem.sandbox.confinement import Confinement
from perimortem.text import printable

_PYSPY_TIMEOUT_S = 30
_PYSTACK_TIMEOUT_S = 10
"""The process is stopped for so long at most."""
_NO_READER = "Python frames are read by pystack: pip install 'perimortem[stacks]'"


class NoPythonFrames(Exception):
    """Why there are none."""


def read_live(pid: int) -> list[PythonThread]:
    """For a process that is already stopped. Raises NoPythonFrames.

    In a child that may do nothing but read it: its interpreter may be damaged, or made up."""
    try:
        engine = _import_engine()
    except ImportError:
        return _ask_pyspy(pid)

    def read() -> bytes:
        try:
            found = engine.get_process_threads(
                pid, stop_process=False, native_mode=engine.NativeReportingMode.OFF
            )
            return msgspec.json.encode([_convert(thread) for thread in found])
        except Exception as error:  # noqa: BLE001 - a library, and a process that may be damaged
            return msgspec.json.encode(_first_line(error))

    confinement = Confinement(cpu_s=_PYSTACK_TIMEOUT_S, reads_process=pid)
    try:
        answer = ask_confined(read, confinement, _PYSTACK_TIMEOUT_S)
        threads = msgspec.json.decode(answer, type=list[PythonThread] | str)
    except (PerimortemError, msgspec.MsgspecError) as error:
        raise NoPythonFrames(f"pystack could not read them: {_first_line(error)}") from error
    if isinstance(threads, str):
        raise NoPythonFrames(f"pystack could not read them: {threads}")
    return threads


def read_core(core: Path, executable: Path) -> list[PythonThread]:
    """For an ELF core that has all memory. Raises NoPythonFrames."""
    try:
        engine = _import_engine()
    except ImportError as error:
        raise NoPythonFrames(_NO_READER) from error
    try:
        threads = engine.get_process_threads_for_core(
            core, executable, native_mode=engine.NativeReportingMode.OFF
        )
        return [_convert(thread) for thread in threads]
    except Exception as error:
        raise NoPythonFrames(f"pystack could not read them: {_first_line(error)}") from error


def _import_engine() -> Any:
    """pystack's. It also logs what it raises: without a handler, that would be on our standard error.

    Raises ImportError."""
    import logging

    from pystack import engine

    logger = logging.getLogger("pystack")
    if logger.propagate:
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    return engine


def _convert(thread: Any) -> PythonThread:
    frames = [
        PythonFrame(
            function=printable(frame.code.scope),
            file=printable(frame.code.filename),
            line=frame.code.location.lineno,
            is_entry=bool(frame.is_entry),
        )
        for frame in thread.frames
    ]
    holds = None if thread.holds_the_gil < 0 else bool(thread.holds_the_gil)
    return PythonThread(thread.tid, printable(thread.name or ""), tuple(reversed(frames)), holds)


def _ask_pyspy(pid: int) -> list[PythonThread]:
    beside = Path(sys.executable).with_name("py-spy" + (".exe" if sys.platform == "win32" else ""))
    command = str(beside) if beside.exists() else shutil.which("py-spy")
    if command is None:
        raise NoPythonFrames(_NO_READER)
    try:
        answer = subprocess.run(
            [command, "dump", "--nonblocking", "--json", "--pid", str(pid)],
            capture_output=True,
            text=True,
            timeout=_PYSPY_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPythonFrames(f"py-spy could not read them: {_first_line(error)}") from error
    if answer.returncode:
        raise NoPythonFrames(f"py-spy could not read them: {_first_line(answer.stderr)}")
    return parse_pyspy(answer.stdout)


def parse_pyspy(text: str) -> list[PythonThread]:
    """The output of `py-spy dump --json`. Raises NoPythonFrames for anything else."""
    try:
        threads = json.loads(text)
        if not isinstance(threads, list):
            raise TypeError
        return [
            PythonThread(
                tid=int(thread["os_thread_id"] or thread["thread_id"]),
                name=printable(thread["thread_name"] or ""),
                frames=tuple(_convert_pyspy(thread["frames"])),
                holds_gil=bool(thread["owns_gil"]),
            )
            for thread in threads
        ]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NoPythonFrames("py-spy's output was not understood") from error


def _convert_pyspy(frames: list[dict[str, Any]]) -> Iterable[PythonFrame]:
    for frame in frames:
        yield PythonFrame(
            printable(frame["name"]),
            printable(frame["filename"]),
            int(frame["line"]),
            bool(frame.get("is_entry", True)),
        )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__
