"""Reservations of dumps: may this be dumped, and how large may it be? Recorded in the store.

Many monitors may ask at once: the answer is given in a transaction, and space reserved for a dump
counts until the dump exists. A reservation of a monitor that was killed lapses.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perimortem.store.answers import Refusal, Reservation
from perimortem.store.database import Ask, Store
from perimortem.store.retention import Limits, StoredDump, plan_removals

LAPSE_S = 600.0
"""No dump takes this long: its monitor was killed. Arbitrary."""
LEAST_BYTES = 512 << 10
"""With less space no dump is useful."""
_HOUR_S = 3600.0
_LIMITS_KEPT = "removed: the store keeps its limits (max-use)"


@dataclass(frozen=True)
class Cleared:
    """What was removed, or would be."""

    dumps: tuple[StoredDump, ...]
    used_bytes: int
    """After it."""

    @property
    def bytes_won(self) -> int:
        return sum(dump.size_bytes for dump in self.dumps)


class DumpLedger:
    """The dumps of one store."""

    def __init__(
        self,
        store: Store,
        dumps_dir: Path,
        limits: Limits,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._dumps_dir = dumps_dir
        self._limits = limits
        self._now_s = now_s

    def reserve(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        """Reserve one dump of about ``expected_bytes``; older ones are removed if necessary.

        ``may_grow``: it may take all available space. Raises StoreError."""
        with self._store.transaction(is_durable=False) as ask:
            now_s = self._now_s()
            earlier = ask(
                "SELECT incident FROM dump WHERE signature = ? AND asked_at > ? ORDER BY id",
                (signature, now_s - _HOUR_S),
            )
            if len(earlier) >= self._limits.dumps_per_hour:
                return Refusal(_describe_earlier(earlier), is_repeat=True)
            _forget_failures(ask, now_s - _HOUR_S)
            cleared = self._make_room(ask, min(expected_bytes, self._limits.max_use_bytes // 2))
            free_bytes = shutil.disk_usage(self._dumps_dir).free - self._limits.keep_free_bytes
            room = min(self._limits.max_use_bytes - cleared.used_bytes, free_bytes)
            if room < min(expected_bytes, LEAST_BYTES):
                bound = "keep-free" if free_bytes <= room else "max-use"
                return Refusal(
                    f"the store is full ({bound}), and each dump in it is the only one of its kind"
                )
            allowed = min(expected_bytes, room)
            ask(
                "INSERT INTO dump (signature, asked_at, size_bytes) VALUES (?, ?, ?)",
                (signature, now_s, allowed),
            )
            (number,) = ask("SELECT last_insert_rowid()", ())[0]
            return Reservation(int(number), room if may_grow else allowed)

    def settle(
        self, reservation: Reservation, path: str | None, size_bytes: int, uid: str | None
    ) -> None:
        """The dump exists, or failed. A failed one still counts for its signature:
        what makes a worker fail will do so again. ``uid``: of the incident that it belongs to.

        Raises StoreError."""
        with self._store.transaction(is_durable=False) as ask:
            ask(
                "UPDATE dump SET path = ?, size_bytes = ?, "
                "incident = (SELECT id FROM incident WHERE uid = ?) WHERE id = ?",
                (path or "", size_bytes if path else 0, uid, reservation.number),
            )

    def forget(self, reservation: Reservation) -> None:
        """As if it had never been reserved. Raises StoreError."""
        with self._store.transaction(is_durable=False) as ask:
            ask("DELETE FROM dump WHERE id = ?", (reservation.number,))

    def clear(self, *, dry_run: bool = False) -> Cleared:
        """Bring the store within its limits now. Raises StoreError."""
        with self._store.transaction() as ask:
            return self._make_room(ask, 0, dry_run=dry_run)

    def _make_room(self, ask: Ask, needed_bytes: int, *, dry_run: bool = False) -> Cleared:
        now_s = self._now_s()
        dumps = self._list_dumps(ask)
        if not dry_run:
            _note_missing(ask, {str(dump.path) for dump in dumps})
        (set_aside,) = ask(
            "SELECT coalesce(sum(size_bytes), 0) FROM dump WHERE path IS NULL AND asked_at > ?",
            (now_s - LAPSE_S,),
        )[0]
        used = sum(dump.size_bytes for dump in dumps) + set_aside + self._store.size_bytes()
        free = shutil.disk_usage(self._dumps_dir).free
        excess = max(
            used + needed_bytes - self._limits.max_use_bytes,
            needed_bytes + set_aside + self._limits.keep_free_bytes - free,
        )
        planned = plan_removals(dumps, excess, now_s - self._limits.max_age_s)
        removed = planned if dry_run else [dump for dump in planned if _remove(dump)]
        if not dry_run:
            for dump in removed:
                _note_removed(ask, str(dump.path), _LIMITS_KEPT)
        return Cleared(tuple(removed), used - sum(dump.size_bytes for dump in removed))

    def _list_dumps(self, ask: Ask) -> list[StoredDump]:
        signatures: dict[str, str] = dict(
            ask("SELECT path, signature FROM dump WHERE path != ''", ())
        )
        found = []
        with suppress(OSError):
            for entry in os.scandir(self._dumps_dir):
                if not entry.name.endswith((".dmp", ".core", ".zst")):
                    continue
                with suppress(OSError):
                    facts = entry.stat(follow_symlinks=False)
                    signature = signatures.get(entry.path)
                    path, size = Path(entry.path), facts.st_size
                    found.append(StoredDump(path, size, facts.st_mtime, signature))
        return found


def _describe_earlier(earlier: list[tuple[Any, ...]]) -> str:
    """ "the same was dumped 3 times in the last hour, first for incident 12 (dumps-per-hour)"."""
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    number = next((incident for (incident,) in earlier if incident is not None), None)
    first = "" if number is None else f", first for incident {number}"
    return f"the same was dumped {times} in the last hour{first} (setting dumps-per-hour)"


def _forget_failures(ask: Ask, before_s: float) -> None:
    """They count for an hour."""
    ask("DELETE FROM dump WHERE path = '' AND asked_at < ?", (before_s,))
    ask("DELETE FROM dump WHERE path IS NULL AND asked_at < ?", (before_s - LAPSE_S,))


def _note_missing(ask: Ask, found: set[str]) -> None:
    """Removed by a process that was killed before it could say so, or by the user."""
    for (path,) in ask("SELECT DISTINCT path FROM dump WHERE path != ''", ()):
        if path not in found and not os.path.lexists(path):
            _note_removed(ask, path, "it is gone")


def _note_removed(ask: Ask, path: str, why: str) -> None:
    """Its incident says so from now on."""
    for number, text in ask(
        "SELECT id, report FROM incident WHERE id IN (SELECT incident FROM dump WHERE path = ?)",
        (path,),
    ):
        report = json.loads(text)
        for dump in report["dumps"]:
            if dump["path"] == path:
                dump |= {"path": None, "error": why}
        has_dump = any(dump["path"] for dump in report["dumps"])
        ask(
            "UPDATE incident SET report = ?, has_dump = ? WHERE id = ?",
            (json.dumps(report), int(has_dump), number),
        )
    ask("DELETE FROM dump WHERE path = ?", (path,))


def _remove(dump: StoredDump) -> bool:
    try:
        dump.path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
