"""Take a dump of a running process, and open dumps of any kind."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from perimortem.api.command import ask
from perimortem.documents.report import Dump as DumpDocument
from perimortem.dumping.open import open_snapshot
from perimortem.errors import PerimortemError
from perimortem.model.snapshot import (
    ExceptionRecord,
    Handle,
    MemoryRange,
    Module,
    Region,
    SystemFacts,
    Thread,
)


def dump(
    pid: int,
    path: str | os.PathLike[str] | None = None,
    *,
    type: str = "mini",
    pause: Literal["stop", "snapshot", "none"] = "stop",
    format: Literal["minidump", "core"] = "minidump",
    compress: bool = False,
) -> DumpDocument:
    """Write a dump of process ``pid``, which runs on; returns where it is and what it cost.

    ``path``: a file, a directory, or None for the working directory; ``type``: mini, miniplus, triage,
    full, or a MINIDUMP_TYPE mask such as 0x1105; ``pause``: what it may do to the process. Raises
    PerimortemError when there is no such process, a right is missing or no dump could be written.

    >>> perimortem.dump(4711, type="full", pause="snapshot").path
    '/home/me/server-1764316800-4711.dmp'
    """
    arguments = ["dump", "--json", "--type", type, "--pause", pause, "--format", format]
    arguments += ["--compress"] if compress else []
    arguments += [] if path is None else ["-o", os.fspath(path)]
    return msgspec.convert(ask([*arguments, str(pid)]), DumpDocument)


def open_dump(path: str | os.PathLike[str]) -> Dump:
    """Open a minidump or an ELF core of any writer, compressed or not; a context manager.

    Raises PerimortemError naming the file.

    >>> with perimortem.open_dump("server.dmp") as found:
    ...     [thread.name for thread in found.threads]
    ['server', 'render']
    """
    return Dump(Path(path))


class Dump:
    """What a dump holds. Everything but :meth:`read` stays valid after :meth:`close`."""

    def __init__(self, path: Path) -> None:
        """Raises PerimortemError naming the file."""
        self.path = path
        self._stack = ExitStack()
        try:
            self._snapshot = self._stack.enter_context(open_snapshot(path))
        except BaseException:
            self._stack.close()
            raise
        self._is_open = True

    @property
    def pid(self) -> int:
        return self._snapshot.pid

    @property
    def system(self) -> SystemFacts:
        """The machine that it was taken on."""
        return self._snapshot.system

    @property
    def threads(self) -> tuple[Thread, ...]:
        """With their registers, where those could be read."""
        return self._snapshot.threads

    @property
    def modules(self) -> tuple[Module, ...]:
        """The program first."""
        return self._snapshot.modules

    @property
    def regions(self) -> tuple[Region, ...]:
        """The address space, whether its memory is in the dump or not."""
        return self._snapshot.regions

    @property
    def memory(self) -> tuple[MemoryRange, ...]:
        """The memory that is in the dump."""
        return self._snapshot.memory

    @property
    def handles(self) -> tuple[Handle, ...] | None:
        """Open descriptors or handles; None where the dump has no such list."""
        return self._snapshot.handles

    @property
    def exception(self) -> ExceptionRecord | None:
        """The signal or exception that it was taken for."""
        return self._snapshot.exception

    @property
    def soft_errors(self) -> tuple[str, ...]:
        """What its writer did less than it was asked for."""
        return tuple(self._snapshot.soft_errors)

    def read(self, address: int, size: int) -> bytes:
        """The bytes at ``address``, up to the first that the dump does not have; b"" for none."""
        if not self._is_open:
            raise PerimortemError(f"{self.path} is closed", remedy="read in the `with` block")
        return self._snapshot.content.read(address, size)

    def close(self) -> None:
        """Let go of the file."""
        self._is_open = False
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
