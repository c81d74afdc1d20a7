"""Command lines and first commands of gdb, lldb and the debuggers of Windows.

gdb selects by thread id and address, in Python, since it may show other frames than we do; lldb, whose
Python is often not installed, by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from perimortem.debugger.session import Session
from perimortem.errors import PerimortemError

SCRIPT_NAMES = {"gdb": "first.gdb", "lldb": "first.lldb"}
"""The file of first commands, by kind of debugger; none: they are in the command line."""
_DEBUG_ROOT = "/usr/lib/debug"
_WINDOWS = ("windbgx", "windbg", "cdb", "kd")


def find_kind(debugger: str) -> str:
    """gdb, lldb or windbg, by the name of the program: gdb-multiarch and lldb-19 are such, too."""
    name = debugger.replace("\\", "/").rsplit("/", 1)[-1].lower().removesuffix(".exe")
    if name.startswith("lldb"):
        return "lldb"
    if name.startswith(_WINDOWS):
        return "windbg"
    if "gdb" in name:
        return "gdb"
    raise PerimortemError(
        f"{debugger} is no debugger that is known here",
        remedy="--debugger gdb, lldb, windbg or cdb",
    )


def build_command(
    debugger: str, session: Session, script: Path | None, more: Sequence[str]
) -> list[str]:
    """``script``: the file with :func:`build_script`; ``more``: arguments of the user.

    Raises PerimortemError if it cannot read such a dump."""
    kind = find_kind(debugger)
    if kind == "gdb":
        if session.core is None:
            raise PerimortemError(
                f"gdb does not read {session.dump.name}",
                why="it is not of Linux, or of a machine whose cores are not written here",
                remedy="--debugger lldb",
            )
        program = [str(session.program)] if session.program is not None else []
        early = [part for line in _list_gdb_settings(session) for part in ("-iex", line)]
        scripts = ["-x", str(script)] if script is not None else []
        return [debugger, "-q", *early, *more, *scripts, *program, "-core", str(session.core)]
    if kind == "lldb":
        program = [str(session.program)] if session.program is not None else []
        scripts = ["-s", str(script)] if script is not None else []
        return [debugger, *more, *program, "-c", str(session.core or session.dump), *scripts]
    symbols = ";".join(["srv*", *(str(path) for path in session.symbols)])
    sources = ["-srcpath", ";".join(map(str, session.sources))] if session.sources else []
    thread = f"~~[{session.tid:x}]s; " if session.tid is not None else ""
    first = f"{thread}.ecxr; kn"
    return [debugger, *more, "-z", str(session.dump), "-y", symbols, *sources, "-c", first]


def build_script(kind: str, session: Session) -> str:
    """The first commands of gdb or lldb."""
    lines = _list_gdb_lines(session) if kind == "gdb" else _list_lldb_lines(session)
    return "".join(f"{line}\n" for line in lines)


def _list_gdb_settings(session: Session) -> Iterator[str]:
    """Before it reads any file."""
    if session.root is not None:
        yield f"set sysroot {session.root}"
    if session.symbols:
        folders = ":".join(map(str, session.symbols))
        yield f"set debug-file-directory {folders}:{_DEBUG_ROOT}"
        yield f"set solib-search-path {folders}"
    for source in session.sources:
        yield f"directory {source}"


def _list_gdb_lines(session: Session) -> Iterator[str]:
    yield "python"
    yield "import gdb"
    if session.tid is not None:
        yield "for thread in gdb.selected_inferior().threads():"
        yield f"    if (thread.ptid[1] or thread.ptid[0]) == {session.tid}:"
        yield "        thread.switch()"
    if session.pc is not None:
        yield "frame = gdb.newest_frame()"
        yield f"while frame is not None and frame.pc() != {session.pc:#x}:"
        yield "    frame = frame.older()"
        yield "if frame is not None:"
        yield "    frame.select()"
    yield "end"
    yield "frame"


def _list_lldb_lines(session: Session) -> Iterator[str]:
    for folder in session.symbols:
        yield f'settings append target.debug-file-search-paths "{folder}"'
        yield f'settings append target.exec-search-paths "{folder}"'
    for source in session.sources:
        yield f'settings append target.source-map "." "{source}"'
    if session.tid is not None:
        yield f"thread select {session.thread_number + 1}"
    yield f"frame select {session.depth}"
