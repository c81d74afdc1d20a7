"""Text that came from a process, made safe to print: names and arguments are hostile input."""

from __future__ import annotations

_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def printable(text: str) -> str:
    """``text`` with control characters and lone surrogates escaped: never sent raw to a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else _ESCAPES.get(c) or c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def decode_text(raw: bytes) -> str:
    """Bytes up to the first NUL, as printable text; undecodable bytes are shown as \\xNN."""
    return printable(raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"))
