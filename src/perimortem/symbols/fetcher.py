"""Ask symbol servers for debug information, in another process: who reads dumps has no network.

That process takes build-ids and nothing else, and gives paths.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from perimortem.system import Service, open_selector

_TIMEOUT_S = 60
_BUILD_ID = re.compile(rb"[0-9a-f]{2,128}\n")


class Fetcher:
    """Start it before this process is confined."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._service = Service(__name__, None)

    def fetch(self, build_id: bytes) -> Path | None:
        """A file with the debug information, or None; waits for the servers."""
        selector = open_selector()
        received = b""
        try:
            selector.register(self._service.waitable(), lambda _now_ns: None)
            self._service.send(build_id.hex().encode() + b"\n")
            while not received.endswith(b"\n"):
                if not selector.wait(2 * _TIMEOUT_S):
                    return None
                part = self._service.read()
                if part == b"":
                    return None
                received += part or b""
        finally:
            selector.close()
        path = received.decode("utf-8", "surrogateescape").strip()
        return Path(path) if path else None

    def close(self) -> None:
        self._service.end(0)


def serve(_settings: object, lines: Iterator[bytes], send: Callable[[bytes], None]) -> None:
    """The other process: a line for each build-id, empty if there is nothing."""
    for line in lines:
        found = ask_debuginfod(line.strip().decode()) if _BUILD_ID.fullmatch(line) else ""
        send(found.encode("utf-8", "surrogateescape") + b"\n")


def ask_debuginfod(build_id: str) -> str:
    """The path that debuginfod-find prints; empty if it fails, or is not installed."""
    try:
        answer = subprocess.run(
            ["debuginfod-find", "debuginfo", build_id],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    path = answer.stdout.strip()
    return path if answer.returncode == 0 and "\n" not in path else ""
