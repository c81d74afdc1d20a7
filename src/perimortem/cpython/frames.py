"""The Python frames of every thread of an interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from perimortem.cpython.layout import Layout, ReadMemory, UnknownLayout, read_layout
from perimortem.cpython.line_table import find_line
from perimortem.model.python_stack import PythonFrame, PythonThread
from perimortem.model.snapshot import Thread
from perimortem.text import printable

_THREADS_MAX = 4096
_INTERPRETERS_MAX = 64
_FRAMES_MAX = 2000
_HEAD_SEARCHED = 512
"""Where an interpreter's list of threads is searched for, in bytes."""
_THREAD_BYTES = 320
_FRAME_BYTES = 88
_CODE_BYTES = 208
_TEXT_MAX, _TABLE_MAX = 1024, 64 << 10
_TEXT_USUAL, _TABLE_USUAL = 96, 256
"""Read at once: a read is dearer than its bytes."""
_ADDRESS_LEAST = 1 << 12
_TAGS = 7
"""Bits that a reference on a stack may have set since 3.14."""


@dataclass(frozen=True)
class _Code:
    """What frames of one function share."""

    address: int
    function: str
    file: str
    first_line: int
    table: bytes


class PythonReader:
    """Reads one process. Damage ends a list; it never raises."""

    def __init__(
        self,
        read: ReadMemory,
        runtime: int,
        version_at: int | None,
        *,
        is_over: Callable[[], bool] = lambda: False,
        frames_max: int = _FRAMES_MAX,
    ) -> None:
        """``is_over``: there is no time left; what was read by then counts. Raises UnknownLayout."""
        self._read, self._runtime = read, runtime
        self.layout: Layout = read_layout(read, runtime, version_at)
        self._is_over, self._frames_max = is_over, frames_max
        self._codes: dict[int, _Code | None] = {}

    def read_threads(
        self, threads: Iterable[Thread] = (), first_tid: int | None = None
    ) -> list[PythonThread]:
        """``threads``: those of the snapshot, which may be numbered otherwise than in the process (a
        container); ``first_tid``: the one to begin with. Raises UnknownLayout if nothing fits."""
        numbers = _list_identities(threads)
        states = [
            (numbers.get(identity, tid), state) for tid, identity, state in self._list_threads()
        ]
        if not states:
            raise UnknownLayout("its list of threads was not found")
        states.sort(key=lambda state: state[0] != first_tid)
        found = []
        for tid, state in states:
            if self._is_over():
                break
            found.append(PythonThread(tid, "", tuple(self._walk(state)), None))
        return found

    def _list_threads(self) -> Iterator[tuple[int, int, int]]:
        """(tid, pthread_self(), address) of each thread state."""
        layout, count = self.layout, 0
        interpreter = self._word(self._runtime + layout.interpreters_head)
        seen: set[int] = set()
        while interpreter and interpreter not in seen and len(seen) < _INTERPRETERS_MAX:
            seen.add(interpreter)
            state = self._find_first_thread(interpreter)
            while state and state not in seen and count < _THREADS_MAX:
                seen.add(state)
                count += 1
                raw = self._read(state, _THREAD_BYTES)
                if len(raw) < layout.native_id + 8:
                    break
                yield _unpack(raw, layout.native_id), _unpack(raw, layout.thread_id), state
                state = _unpack(raw, layout.thread_next)
            interpreter = self._word(interpreter + layout.interpreter_next)

    def _find_first_thread(self, interpreter: int) -> int:
        layout = self.layout
        if layout.threads_head is not None:
            return self._word(interpreter + layout.threads_head)
        raw = self._read(interpreter, _HEAD_SEARCHED)
        for at in range(8, len(raw) - 7, 8):
            state = _unpack(raw, at)
            # The first of the list has none before it, and belongs to this interpreter.
            if state % 8 or state < _ADDRESS_LEAST or state == interpreter:
                continue
            head = self._read(state, 24)
            is_first = len(head) == 24 and _unpack(head, 0) == 0
            if is_first and _unpack(head, layout.thread_interp) == interpreter:
                return state
        return 0

    def _walk(self, state: int) -> Iterator[PythonFrame]:
        """The innermost first."""
        layout = self.layout
        frame = self._word(state + layout.current_frame)
        if frame and layout.frame_in_cframe is not None:
            frame = self._word(frame + layout.frame_in_cframe)
        last: PythonFrame | None = None
        for _ in range(self._frames_max):
            if not frame or frame % 8 or self._is_over():
                break
            raw = self._read(frame, _FRAME_BYTES)
            if len(raw) < _FRAME_BYTES:
                break
            frame = _unpack(raw, layout.frame_previous)
            if raw[layout.frame_owner] in layout.entry_owners:
                if last is not None:
                    yield _as_entry(last)
                last = None
                continue
            if last is not None:
                yield last
            last = self._describe(raw)
        if last is not None:
            yield _as_entry(last)

    def _describe(self, raw: bytes) -> PythonFrame | None:
        layout = self.layout
        code = self._find_code(_unpack(raw, layout.frame_code) & ~_TAGS)
        if code is None:
            return None
        offset = _unpack(raw, layout.frame_instruction) - code.address - layout.code_start
        line = find_line(code.table, code.first_line, offset) if offset >= 0 else None
        is_entry = layout.is_entry is not None and bool(raw[layout.is_entry])
        return PythonFrame(code.function, code.file, line or code.first_line, is_entry)

    def _find_code(self, address: int) -> _Code | None:
        if address not in self._codes:
            self._codes[address] = self._read_code(address)
        return self._codes[address]

    def _read_code(self, address: int) -> _Code | None:
        layout = self.layout
        raw = self._read(address, _CODE_BYTES)
        if address < _ADDRESS_LEAST or len(raw) < layout.code_lines + 8:
            return None
        file = self._read_text(_unpack(raw, layout.code_filename))
        name = self._read_text(_unpack(raw, layout.code_name))
        if file is None or name is None:
            return None
        first_line = int.from_bytes(raw[layout.code_first_line :][:4], "little", signed=True)
        table = self._read_bytes(_unpack(raw, layout.code_lines))
        return _Code(address, printable(name), printable(file), first_line, table)

    def _read_bytes(self, address: int) -> bytes:
        start = self.layout.bytes_data
        raw = self._read(address, start + _TABLE_USUAL)
        size = _unpack(raw, start - 16)  # before the hash, which is before the bytes
        if not 0 < size <= _TABLE_MAX:
            return b""
        return raw[start:][:size] if len(raw) >= start + size else self._read(address + start, size)

    def _read_text(self, address: int) -> str | None:
        layout = self.layout
        raw = self._read(address, layout.text_wide + _TEXT_USUAL)
        if address < _ADDRESS_LEAST or len(raw) < layout.text_data:
            return None
        state = int.from_bytes(raw[layout.text_state :][:4], "little") >> layout.kind_shift
        width, is_compact, is_ascii = state & 7, state >> 3 & 1, state >> 4 & 1
        if width not in (1, 2, 4) or not is_compact:
            return None
        start = layout.text_data if is_ascii else layout.text_wide
        size = width * min(_unpack(raw, layout.text_length), _TEXT_MAX)
        data = raw[start:][:size]
        if len(data) < size:
            data = self._read(address + start, size)
        if len(data) < size:
            return None
        encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width]
        return data.decode(encoding, "backslashreplace")

    def _word(self, address: int) -> int:
        raw = self._read(address, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else 0


def _list_identities(threads: Iterable[Thread]) -> dict[int, int]:
    """Thread ids by pthread_self(), which is the thread pointer."""
    return {
        thread.registers.general["fs_base"]: thread.tid
        for thread in threads
        if thread.registers is not None and thread.registers.general.get("fs_base")
    }


def _unpack(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 8], "little")


def _as_entry(frame: PythonFrame) -> PythonFrame:
    return PythonFrame(frame.function, frame.file, frame.line, is_entry=True)
