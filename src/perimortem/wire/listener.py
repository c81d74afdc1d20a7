"""The seam: where clients connect, and what is known of who they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perimortem.errors import PerimortemError


class AlreadyServed(PerimortemError):
    """Another monitor listens there."""


@dataclass(frozen=True)
class Received:
    """One message and the process that sent it, by the word of the kernel."""

    pid: int
    data: bytes
    is_root: bool = False
    """It may speak for the kernel."""


class Connection(Protocol):
    """One client. Nothing here waits."""

    def waitable(self) -> int:
        """Ready when there is something to :meth:`receive`."""

    def receive(self) -> Received | None:
        """The next message; None: nothing yet. Raises EOFError when the client has left."""

    def send(self, data: bytes) -> bool:
        """False when the client does not read, or has left: then it is given up."""

    def close(self) -> None:
        """Let go of the client."""


class Listener(Protocol):
    """The place where clients come."""

    address: str
    """What a client must know."""

    def waitable(self) -> int:
        """Ready when a client has come."""

    def accept(self) -> Connection | None:
        """The next client; None when there is none, or nothing left to hold it with."""

    def close(self) -> None:
        """Take the place away."""
