"""Values that do not occur by chance: fill patterns, and text used as a pointer. Pure."""

from __future__ import annotations

_PATTERNS = {
    0xDDDDDDDD: "freed memory (debug heap of Visual C++)",
    0xCDCDCDCD: "memory that was never initialised (debug heap of Visual C++)",
    0xCCCCCCCC: "a variable that was never initialised (debug build of Visual C++)",
    0xFDFDFDFD: "the guard around a block (debug heap of Visual C++)",
    0xFEEEFEEE: "freed memory (HeapFree)",
    0xBAADF00D: "memory that was never initialised (LocalAlloc)",
    0xABABABAB: "the guard behind a block (HeapAlloc)",
    0x5A5A5A5A: "freed memory (jemalloc)",
    0xA5A5A5A5: "memory that was never initialised (jemalloc)",
    0xE5E5E5E5: "freed memory (mozjemalloc)",
    0xDEADBEEF: "memory marked as dead (0xdeadbeef)",
    0x6B6B6B6B: "freed memory (0x6b)",
    0xBEBEBEBE: "memory that was never initialised (AddressSanitizer)",
    0xAAAAAAAA: "memory that was never initialised, or freed (0xaa)",
}
_REACH = 0x10000
"""Allows for a field or an element behind such a pointer."""


def find_pattern(value: int) -> str | None:
    """The fill pattern that a pointer near ``value`` was read from."""
    for pattern, meaning in _PATTERNS.items():
        for whole in (pattern << 32 | pattern, pattern):
            if 0 <= value - whole < _REACH:
                return meaning
        if value >> 32 == pattern:
            return meaning
    return None


def read_as_text(value: int, pointer_bytes: int = 8) -> str | None:
    """Letters that were used as a pointer: a buffer was overrun, or text was cast."""
    raw = value.to_bytes(8, "little").rstrip(b"\0")
    if len(raw) >= (6 if pointer_bytes == 8 else 4) and all(0x20 <= byte < 0x7F for byte in raw):
        return raw.decode("ascii")
    return None
