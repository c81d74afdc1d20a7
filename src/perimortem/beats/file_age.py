"""A file that the program writes: each change of its time or size is a beat of ``file:NAME``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from perimortem.model.recording import Event, Heartbeat
from perimortem.text import printable

ReadChange = Callable[[str], tuple[int, int, int] | None]
"""read(path): time of the last change (ns since 1970), size, and inode; None: not known."""


def list_files(wanted: Iterable[str], now_ns: int, read_change: ReadChange) -> list[FileAge]:
    """One for each requested source "file:PATH"."""
    paths = [name[len("file:") :] for name in wanted if name.startswith("file:")]
    return [FileAge(Path(path).absolute(), now_ns, read_change) for path in paths]


class FileAge:
    """Watches one path; the file may appear later, and be replaced (a rotated log)."""

    warning = ""

    def __init__(self, path: Path, now_ns: int, read_change: ReadChange) -> None:
        self.blind_spot = "whether what it writes is progress"
        self.name = f"file:{printable(path.name)}"
        self._path = path
        self._read_change = read_change
        self._seen = read_change(str(path))
        self._beat_ns = now_ns
        self._beaten = False

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        return (Heartbeat(self.name, self._beat_ns, self._beaten, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return ()

    def observe(self, now_ns: int) -> None:
        seen = self._read_change(str(self._path))
        if seen is None or seen == self._seen:
            return
        self._seen = seen
        # When it was written, not when it was sampled; the wall clock may have been set in between.
        age_ns = time.time_ns() - seen[0]
        self._beat_ns = max(self._beat_ns, now_ns - max(0, age_ns))
        self._beaten = True

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        return () if self._seen else (f"{printable(str(self._path))} does not exist",)

    def close(self) -> None:
        return
