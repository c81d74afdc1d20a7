"""Where the fields are: in tables for 3.11 and 3.12; from 3.13 on the runtime says so itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

ReadMemory = Callable[[int, int], bytes]
"""read(address, size): fewer bytes where memory is missing."""
COOKIE = b"xdebugpy"
_OFFSETS_BYTES = 1024
_SIZE_MAX = 1 << 20
_KNOWN = range(0x030B0000, 0x030F0000)
"""3.11 to 3.14, as Py_Version has them."""


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes; None: the version does not have that field."""

    version: tuple[int, int]
    interpreters_head: int
    threads_head: int | None
    """In an interpreter; None: it is searched for."""
    interpreter_next: int
    thread_next: int
    thread_interp: int
    native_id: int
    thread_id: int
    """What the C library calls it: pthread_self()."""
    current_frame: int
    """In a thread: of the pointer to its frame, or to what has that pointer."""
    frame_in_cframe: int | None
    """In the structure that ``current_frame`` points to, if it is not the frame itself."""
    frame_previous: int
    frame_code: int
    frame_instruction: int
    frame_owner: int
    is_entry: int | None
    """3.11: the flag in a frame; since then an own frame stands for each entry."""
    entry_owners: frozenset[int]
    """Kinds of frames that belong to no function."""
    code_filename: int
    code_name: int
    code_first_line: int
    code_lines: int
    code_start: int
    bytes_data: int
    text_length: int
    text_state: int
    text_data: int
    """Of pure ASCII."""
    text_wide: int
    """Of others."""
    kind_shift: int = 2
    """Of the bits in the state: width of a character, compact, ASCII."""


_3_11 = Layout(
    version=(3, 11),
    interpreters_head=40,
    threads_head=None,
    interpreter_next=0,
    thread_next=8,
    thread_interp=16,
    native_id=160,
    thread_id=152,
    current_frame=56,
    frame_in_cframe=8,
    frame_previous=48,
    frame_code=32,
    frame_instruction=56,
    frame_owner=69,
    is_entry=68,
    entry_owners=frozenset(),
    code_filename=112,
    code_name=128,
    code_first_line=72,
    code_lines=136,
    code_start=184,
    bytes_data=32,
    text_length=16,
    text_state=32,
    text_data=48,
    text_wide=72,
)
_3_12 = Layout(
    version=(3, 12),
    interpreters_head=40,
    threads_head=None,
    interpreter_next=0,
    thread_next=8,
    thread_interp=16,
    native_id=144,
    thread_id=136,
    current_frame=56,
    frame_in_cframe=0,
    frame_previous=8,
    frame_code=0,
    frame_instruction=56,
    frame_owner=70,
    is_entry=None,
    entry_owners=frozenset({3}),
    code_filename=112,
    code_name=128,
    code_first_line=68,
    code_lines=136,
    code_start=192,
    bytes_data=32,
    text_length=16,
    text_state=32,
    text_data=40,
    text_wide=56,
)
_BY_VERSION = {(3, 11): _3_11, (3, 12): _3_12}
_GROUPS = {
    (3, 13): (
        ("runtime", ("size", "finalizing", "interpreters_head")),
        ("interpreter", ("size", "id", "next", "threads_head", "gc", "imports_modules", "sysdict",
                         "builtins", "ceval_gil", "gil", "gil_enabled", "gil_locked", "gil_holder")),
        ("thread", ("size", "prev", "next", "interp", "current_frame", "thread_id", "native_id",
                    "datastack_chunk", "status")),
        ("frame", ("size", "previous", "executable", "instr_ptr", "localsplus", "owner")),
        ("code", ("size", "filename", "name", "qualname", "linetable", "firstlineno", "argcount",
                  "localsplusnames", "localspluskinds", "co_code_adaptive")),
    ),
    (3, 14): (
        ("runtime", ("size", "finalizing", "interpreters_head")),
        ("interpreter", ("size", "id", "next", "threads_head", "threads_main", "gc",
                         "imports_modules", "sysdict", "builtins", "ceval_gil", "gil", "gil_enabled",
                         "gil_locked", "gil_holder", "code_object_generation", "tlbc_generation")),
        ("thread", ("size", "prev", "next", "interp", "current_frame", "thread_id", "native_id",
                    "datastack_chunk", "status")),
        ("frame", ("size", "previous", "executable", "instr_ptr", "localsplus", "owner",
                   "stackpointer", "tlbc_index")),
        ("code", ("size", "filename", "name", "qualname", "linetable", "firstlineno", "argcount",
                  "localsplusnames", "localspluskinds", "co_code_adaptive", "co_tlbc")),
    ),
}  # fmt: skip
"""struct _Py_DebugOffsets, as far as it is used: groups of 64-bit numbers after cookie, version and
free_threaded."""
_ENTRY_OWNERS = {(3, 13): frozenset({3}), (3, 14): frozenset({3, 4})}


class UnknownLayout(Exception):
    """It is not that of a CPython that is known here; carries the reason."""


def read_layout(read: ReadMemory, runtime: int, version_at: int | None) -> Layout:
    """``runtime``: the address of _PyRuntime; ``version_at``: of Py_Version. Raises UnknownLayout."""
    head = read(runtime, _OFFSETS_BYTES)
    if head[:8] == COOKIE:
        return _read_offsets(head)
    raw = read(version_at, 8) if version_at is not None else b""
    number = int.from_bytes(raw, "little") if len(raw) == 8 else 0
    version = (number >> 24 & 0xFF, number >> 16 & 0xFF)
    if number not in _KNOWN and version not in _BY_VERSION:
        raise UnknownLayout("the version of the interpreter is not one of 3.11 to 3.14")
    found = _BY_VERSION.get(version)
    if found is None:
        raise UnknownLayout(
            f"Python {version[0]}.{version[1]} should describe itself, and does not"
        )
    return found


def _read_offsets(head: bytes) -> Layout:
    number, is_free_threaded = struct.unpack_from("<QQ", head, 8)
    version = (number >> 24 & 0xFF, number >> 16 & 0xFF)
    groups = _GROUPS.get(version)
    if groups is None:
        raise UnknownLayout(f"Python {version[0]}.{version[1]} is newer than what is known here")
    at = 24
    found: dict[str, int] = {}
    for group, names in groups:
        values = struct.unpack_from(f"<{len(names)}Q", head, at)
        found |= {f"{group}.{name}": value for name, value in zip(names, values, strict=True)}
        at += 8 * len(names)
    if any(value > _SIZE_MAX for value in found.values()):
        raise UnknownLayout("its description of itself makes no sense")
    return Layout(
        version=version,
        interpreters_head=found["runtime.interpreters_head"],
        threads_head=found["interpreter.threads_head"],
        interpreter_next=found["interpreter.next"],
        thread_next=found["thread.next"],
        thread_interp=found["thread.interp"],
        native_id=found["thread.native_id"],
        thread_id=found["thread.thread_id"],
        current_frame=found["thread.current_frame"],
        frame_in_cframe=None,
        frame_previous=found["frame.previous"],
        frame_code=found["frame.executable"],
        frame_instruction=found["frame.instr_ptr"],
        frame_owner=found["frame.owner"],
        is_entry=None,
        entry_owners=_ENTRY_OWNERS[version],
        code_filename=found["code.filename"],
        code_name=found["code.qualname"],
        code_first_line=found["code.firstlineno"],
        code_lines=found["code.linetable"],
        code_start=found["code.co_code_adaptive"],
        bytes_data=48 if is_free_threaded else 32,
        text_length=32 if is_free_threaded else 16,
        text_state=48 if is_free_threaded else 32,
        text_data=56 if is_free_threaded else 40,
        text_wide=72 if is_free_threaded else 56,
        kind_shift=8 if is_free_threaded else 2,
    )
