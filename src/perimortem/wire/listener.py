"""The seam: where clients connect, and how they are identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perimortem.errors import PerimortemError


class AlreadyServed(PerimortemError):
    """Another monitor listens there."""


@dataclass(frozen=True)
class Received:
    """One message and the process that sent it, as identified by the kernel."""

    pid: int
    data: bytes
    is_root: bool = False
    """It may report for the kernel."""


class Connection(Protocol):
    """One client. Nothing here blocks."""

    def waitable(self) -> int:
        """Ready when there is something to :meth:`receive`."""

    def receive(self) -> Received | None:
        """The next message; None: nothing yet. Raises EOFError if the client has left."""

    def send(self, data: bytes) -> bool:
        """False if the client does not read, or has left: then it is dropped."""

    def close(self) -> None:
        """Close the connection."""


class Listener(Protocol):
    """Where clients connect."""

    address: str
    """The address for clients."""

    def waitable(self) -> int:
        """Ready when a client has connected."""

    def accept(self) -> Connection | None:
        """The next client; None if there is none, or no resources to hold it."""

    def close(self) -> None:
        """Remove the socket or pipe."""
