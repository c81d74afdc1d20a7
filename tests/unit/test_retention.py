"""Which dumps go: the oldest, never the newest of a kind, and not more than must."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.config.keys import WrongValue, read_size, read_time_span
from perimortem.documents.report import Dump
from perimortem.errors import StoreError
from perimortem.model.dump import Pause
from perimortem.model.verdict import Verdict
from perimortem.store.answers import Refusal, Reservation
from perimortem.store.database import Store
from perimortem.store.ledger import LAPSE_S, DumpLedger
from perimortem.store.retention import Limits, StoredDump, plan_removals
from perimortem.testing.documents import make_report

MIB = 1 << 20


@st.composite
def stored(draw):
    count = draw(st.integers(0, 30))
    return [
        StoredDump(
            Path(f"/dumps/{i}.dmp"),
            draw(st.integers(0, 100)),
            draw(st.integers(0, 20)),
            draw(st.sampled_from([None, "a", "b", "c"])),
        )
        for i in range(count)
    ]


@given(stored(), st.integers(-10, 2000), st.integers(0, 20))
def test_the_planned_removals(dumps, excess, oldest):
    planned = plan_removals(dumps, excess, oldest)
    left = [dump for dump in dumps if dump not in planned]
    for signature in {dump.signature for dump in dumps if dump.signature}:
        newest = max(d.taken_at_s for d in dumps if d.signature == signature)
        assert any(d.taken_at_s == newest for d in left if d.signature == signature)
    assert all(dump in left for dump in dumps if dump.signature is None)
    # None goes that need not: without the last one planned, either bytes or age would not do.
    if planned:
        *others, last = planned
        assert sum(d.size_bytes for d in others) < excess or last.taken_at_s < oldest
    taken = [dump.taken_at_s for dump in planned]
    assert taken == sorted(taken)


class Clock:
    now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture()
def make_ledger(tmp_path):
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    store = Store(tmp_path / "incidents.db")

    def make(max_use=10 * MIB, per_hour=3, clock=None):
        limits = Limits(max_use, 0, 30 * 86400.0, per_hour)
        ledger = DumpLedger(store, dumps, limits, clock or Clock())
        ledger.dumps_dir = dumps
        return ledger

    yield make
    store.close()


def take(ledger, signature, size, clock, name):
    """One dump, from leave to file."""
    leave = ledger.reserve(signature, size)
    if isinstance(leave, Refusal):
        return None
    path = ledger.dumps_dir / f"{name}.dmp"
    path.write_bytes(bytes(min(size, leave.size_limit_bytes)))
    os.utime(path, (clock.now_s, clock.now_s))
    ledger.settle(leave, str(path), path.stat().st_size, None)
    clock.now_s += 1
    return path


def test_the_same_is_dumped_three_times_an_hour_and_then_counted(make_ledger):
    clock = Clock()
    ledger = make_ledger(clock=clock)
    assert all(take(ledger, "a", 1000, clock, f"a{i}") for i in range(3))
    assert take(ledger, "a", 1000, clock, "a3") is None
    assert take(ledger, "b", 1000, clock, "b") is not None
    clock.now_s += 3600
    assert take(ledger, "a", 1000, clock, "a4") is not None


def test_the_oldest_make_room_but_the_newest_of_a_kind_stay(make_ledger):
    clock = Clock()
    ledger = make_ledger(max_use=10 * MIB + MIB // 2, clock=clock)  # the database has its share
    only = take(ledger, "only", 2 * MIB, clock, "only")
    old = [take(ledger, "often", 2 * MIB, clock, f"often{i}") for i in range(3)]
    assert take(ledger, "new", 4 * MIB, clock, "new") is not None
    assert [path.exists() for path in (only, *old)] == [True, False, True, True]


def test_a_full_store_of_single_dumps_refuses_with_a_reason(make_ledger):
    clock = Clock()
    ledger = make_ledger(clock=clock)
    for i in range(4):
        assert take(ledger, f"kind {i}", 2 * MIB, clock, str(i)) is not None
    small = ledger.reserve("another", 8 * MIB)
    assert isinstance(small, Reservation)
    assert small.size_limit_bytes < 2 * MIB  # what is left
    refusal = ledger.reserve("a third", 8 * MIB)
    assert isinstance(refusal, Refusal)
    assert "max-use" in refusal.why


def test_what_is_set_aside_counts_until_it_lapses(make_ledger):
    clock = Clock()
    ledger = make_ledger(clock=clock)
    assert isinstance(ledger.reserve("a", 10 * MIB - MIB // 4), Reservation)
    assert isinstance(ledger.reserve("b", 9 * MIB), Refusal)
    clock.now_s += LAPSE_S + 1  # that monitor was killed
    assert isinstance(ledger.reserve("b", 9 * MIB), Reservation)


def test_the_incident_of_a_removed_dump_says_why(make_ledger, tmp_path):
    clock = Clock()
    ledger = make_ledger(clock=clock)
    store = Store(tmp_path / "incidents.db")
    path = ledger.dumps_dir / "a.dmp"
    dump = Dump(str(path), "0x0", 4 * MIB, Pause.STOP, 1.0, 1, [], None)
    number = store.add(make_report(verdict=Verdict.CRASH, dumps=[dump], uid="a" * 32))
    leave = ledger.reserve("a", 4 * MIB)
    path.write_bytes(bytes(4 * MIB))
    os.utime(path, (clock.now_s, clock.now_s))
    ledger.settle(leave, str(path), 4 * MIB, "a" * 32)
    clock.now_s += 10
    assert take(ledger, "a", 4 * MIB, clock, "b") is not None
    assert take(ledger, "c", 4 * MIB, clock, "c") is not None
    assert not path.exists()
    (dump,) = store.find(number).dumps
    assert dump.path is None
    assert dump.error == "removed: the store keeps its limits (max-use)"


def test_the_incident_of_a_dump_that_is_gone_says_so(make_ledger, tmp_path):
    """Its remover was killed before it could note that, or was the user."""
    ledger = make_ledger()
    store = Store(tmp_path / "incidents.db")
    path = ledger.dumps_dir / "a.dmp"
    dump = Dump(str(path), "0x0", 4 * MIB, Pause.STOP, 1.0, 1, [], None)
    number = store.add(make_report(verdict=Verdict.CRASH, dumps=[dump], uid="a" * 32))
    reservation = ledger.reserve("a", 4 * MIB)
    path.write_bytes(bytes(4 * MIB))
    ledger.settle(reservation, str(path), 4 * MIB, "a" * 32)
    path.unlink()
    ledger.clear(dry_run=True)
    assert store.find(number).dumps[0].path == str(path)
    ledger.clear()
    (dump,) = store.find(number).dumps
    assert (dump.path, dump.error) == (None, "it is gone")
    assert not store.list_incidents()[0].has_dump
    (row,) = store.list_incidents()
    assert not row.has_dump
    store.close()


def test_a_locked_store_is_an_error_that_names_it(make_ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("perimortem.store.database._BUSY_TIMEOUT_S", 0.05)
    ledger = make_ledger()
    other = sqlite3.connect(tmp_path / "incidents.db")
    other.execute("BEGIN IMMEDIATE")
    ledger._store._connection.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreError, match="cannot write the incident store"):
        ledger.reserve("a", 1)
    other.close()


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("2G", 2 << 30), ("1.5 GiB", 3 << 29), ("500M", 500 << 20), (4096, 4096), ("7K", 7168)],
)
def test_sizes(text, size_bytes):
    assert read_size(text).of(0) == size_bytes


def test_shares_and_spans():
    assert read_size("10%").of(1000) == 100
    assert [read_time_span(text) for text in ("90s", "2 h", "30d", 5)] == [90, 7200, 2592000, 5]


@pytest.mark.parametrize("text", ["", "many", "-1", "2 GG", "101%", True, "1e9", None])
def test_what_is_no_size(text):
    with pytest.raises(WrongValue):
        read_size(text)
