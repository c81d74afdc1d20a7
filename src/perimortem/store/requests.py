"""What the monitor asks of the process that writes for it, and the answers: one JSON object a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from perimortem.store.answers import Kept, Refusal, Reservation
from perimortem.store.stored_report import StoredReport


@dataclass(frozen=True)
class Keep:
    """Store a report. The answer: :class:`Kept`."""

    report: StoredReport


@dataclass(frozen=True)
class Reserve:
    """Reserve room for a dump. The answer: Reservation or Refusal."""

    signature: str
    expected_bytes: int
    may_grow: bool


@dataclass(frozen=True)
class Settle:
    """A reserved dump has been written (``path``), or will not be. No answer but its receipt."""

    reservation: Reservation
    path: str | None
    size_bytes: int
    uid: str | None
    """Of the incident that it belongs to."""


@dataclass(frozen=True)
class Forget:
    """A reservation is withdrawn. No answer but its receipt."""

    reservation: Reservation


@dataclass(frozen=True)
class NotePause:
    """The longest pause of a loop. No answer but its receipt."""

    pause_ns: int
    """Without the time in which it had no processor."""
    waited_ns: int
    """In addition, for a processor."""


@dataclass(frozen=True)
class Received:
    """The answer to what needs none."""


@dataclass(frozen=True)
class Unspooled:
    """News: reports of the spool are in the store now, with these numbers."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Unreported:
    """News: a crash that happened while no monitor was running."""

    report: str
    """As JSON, with its number."""


@dataclass(frozen=True)
class Recovered:
    """News: all that earlier monitors left has been looked through."""


Request = Keep | Reserve | Settle | Forget | NotePause
Answer = Kept | Reservation | Refusal | Received
News = Unspooled | Unreported | Recovered

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Keep, Reserve, Settle, Forget, NotePause),
        *(Kept, Reservation, Refusal, Received),
        *(Unspooled, Unreported, Recovered),
    )
}
_NESTED = {"report": StoredReport, "reservation": Reservation}


def encode_line(number: int | None, message: Request | Answer | News) -> bytes:
    """``number``: of the request, in its answer the same; None for news."""
    values = {"number": number, "kind": type(message).__name__, "values": asdict(message)}
    return json.dumps(values).encode() + b"\n"


def decode_line(line: bytes) -> tuple[int | None, Any]:
    """(number, message). Raises ValueError."""
    try:
        raw = json.loads(line)
        kind, values = _KINDS[raw["kind"]], raw["values"]
        return raw["number"], kind(
            **{field.name: _read(field.name, values) for field in fields(kind)}
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error!r}") from error


def _read(name: str, values: dict[str, Any]) -> Any:
    value = values[name]
    if isinstance(value, dict):
        return _NESTED[name](**{key: _read(key, value) for key in value})
    return tuple(value) if isinstance(value, list) else value
