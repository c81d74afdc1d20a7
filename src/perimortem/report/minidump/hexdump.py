"""Memory of a dump as a hex dump: sixteen bytes a line, in hex and in characters. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from perimortem.model.memory import Memory

_LINE = 16


def render_memory(memory: Memory, address: int, size: int) -> Iterator[str]:
    """Lines; bytes that are not in the dump are shown as ??."""
    at, end = address, address + size
    while at < end:
        line_end = min(end, (at // _LINE + 1) * _LINE)
        yield _render_line(memory, at, line_end)
        at = line_end


def _render_line(memory: Memory, at: int, end: int) -> str:
    data = memory.read(at, end - at)
    cells = [f"{byte:02x}" for byte in data]
    while len(cells) < end - at:  # a hole: continue behind it, byte by byte
        byte = memory.read(at + len(cells), 1)
        cells.append(byte.hex() or "??")
    text = "".join(
        chr(int(cell, 16)) if cell != "??" and 32 <= int(cell, 16) < 127 else "." for cell in cells
    )
    lead = at % _LINE
    padded = ["  "] * lead + cells + ["  "] * (_LINE - lead - len(cells))
    shown = " ".join(padded[:8]) + "  " + " ".join(padded[8:])
    return f"{at - lead:016x}  {shown}  |{' ' * lead}{text}|"
