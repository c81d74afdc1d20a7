"""The store, used by many at once."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import msgspec
import pytest

from perimortem.errors import StoreError
from perimortem.model.recording import Event
from perimortem.model.verdict import Verdict
from perimortem.report.document import render_event
from perimortem.report.text import render_account
from perimortem.store import database
from perimortem.store.database import Store, Stored
from perimortem.store.stored_report import prepare_report
from perimortem.testing.documents import make_report

OPEN_MANY = """
import sys
from pathlib import Path
from perimortem.store.database import Store

print(flush=True)
sys.stdin.read(1)
for number in range(40):
    Store(Path(sys.argv[1], f"{number}.db")).close()
"""


def test_many_open_a_new_store_at_once(tmp_path):
    gate, opener = os.pipe()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_MANY, tmp_path], stdin=gate, stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    os.close(gate)
    for process in started:
        with process.stdout as ready:
            ready.readline()
    os.close(opener)
    assert [process.wait(timeout=60) for process in started] == [0] * 6


def test_an_older_store_is_brought_up_to_date(tmp_path):
    path = tmp_path / "old.db"
    Store(path).close()
    old = sqlite3.connect(path)
    old.executescript(
        "DROP TABLE dump; DROP INDEX incident_uid; ALTER TABLE incident DROP COLUMN uid;"
        "DROP TABLE loop_pause; DROP TABLE counted;"
        "DROP INDEX incident_program; ALTER TABLE incident DROP COLUMN program;"
        "ALTER TABLE incident DROP COLUMN stored_at; ALTER TABLE incident DROP COLUMN repeats;"
        "PRAGMA user_version = 1;"
    )
    old.close()
    with Store(path) as store, store.transaction() as ask:
        assert ask("SELECT count(*) FROM dump", ()) == [(0,)]


def fail_in_transaction(store):
    with store.transaction() as ask:
        ask("INSERT INTO dump (signature, asked_at, size_bytes) VALUES ('a', 1, 1)", ())
        raise FileNotFoundError("the directory is gone")


def test_what_fails_inside_a_transaction_is_taken_back_and_said(tmp_path):
    with Store(tmp_path / "a.db") as store:
        with pytest.raises(StoreError, match="cannot write"):
            fail_in_transaction(store)
        with store.transaction() as ask:
            assert ask("SELECT count(*) FROM dump", ()) == [(0,)]


HOSTILE_PAYLOADS = {
    "huge": '{"n": ' + "9" * 4000 + "}",
    "not a number": '{"n": NaN, "i": Infinity, "f": 1e999}',
    "surrogate": '"\\ud800"',
    "deep": "[" * 5000,
    "deep and valid": "[" * 300 + "]" * 300,
    "as deep as can be read": '{"a":' * 900 + "1" + "}" * 900,
    "bytes": "\udcff\x00\x1b[2J",
}


@pytest.mark.parametrize("payload", HOSTILE_PAYLOADS.values(), ids=HOSTILE_PAYLOADS)
def test_a_hostile_payload_is_stored_and_read_as_it_was(payload, tmp_path):
    """What a program sends as an event must not cost it its report."""
    value = make_event(payload).payload
    report = make_report(recent_events=[make_event(payload)])
    with Store(tmp_path / "a.db") as store:
        number = store.add(report)
        (event,) = store.find(number).recent_events
    assert repr(event.payload) == repr(value)
    assert render_account(msgspec.structs.replace(report, last_event=event), full=True)


def make_event(payload):
    return render_event(Event(0, 0, "frame", payload), 0)


def change_stored(store, number, change):
    with store.transaction() as ask:
        ((text,),) = ask("SELECT report FROM incident WHERE id = ?", (number,))
        report = json.loads(text)
        change(report)
        ask("UPDATE incident SET report = ? WHERE id = ?", (json.dumps(report), number))


def test_keys_that_a_newer_version_added_are_ignored(tmp_path):
    with Store(tmp_path / "a.db") as store:
        number = store.add(make_report())
        change_stored(store, number, lambda report: report["target"].update(colour="red"))
        assert store.find(number) == make_report(id=number)


def test_a_report_that_this_version_cannot_read_costs_no_other(tmp_path):
    with Store(tmp_path / "a.db") as store:
        number = store.add(make_report())
        change_stored(store, number, lambda report: report.update(verdict="abducted"))
        with pytest.raises(StoreError, match=f"incident {number} cannot be read") as caught:
            store.find(number)
        assert "newer version" in caught.value.remedy
        assert len(store.list_incidents(with_clean=True)) == 1


def make_end(number, name="server", verdict=Verdict.CRASH, command_line=("server",), file=None):
    """``file``: of its program, if that has another name."""
    report = make_report(uid=f"{number:032x}", verdict=verdict)
    target = msgspec.structs.replace(
        report.target, name=name, command_line=list(command_line), executable=f"/opt/{file or name}"
    )
    return prepare_report(msgspec.structs.replace(report, target=target))


def test_a_program_that_crashes_in_a_loop_is_stored_a_few_times_and_counted(tmp_path):
    with Store(tmp_path / "a.db") as store:
        for number in range(50):
            (stored,) = store.add_all([make_end(number)], per_hour=10)
            assert stored == Stored(min(number, 9) + 1, is_whole=number < 10)
        # A fuller report of one that was counted is not counted again.
        assert store.add_all([make_end(49)], per_hour=10) == [Stored(10, is_whole=False)]
        assert [row.repeats for row in store.list_incidents()] == [0] * 9 + [40]
        assert "40 more of this program" in store.find(10).soft_errors[-1]
        # What is stored is still replaced, and others are not concerned.
        assert store.add_all([make_end(3)], per_hour=10) == [Stored(4)]
        others = [
            make_end(100, name="other"),
            make_end(101, verdict=Verdict.CLEAN_EXIT),
            make_end(102, name="python3", command_line=("python3", "a.py")),
            make_end(103, name="python3", command_line=("python3", "b.py")),
        ]
        assert all(stored.is_whole for stored in store.add_all(others, per_hour=1))


@pytest.mark.parametrize("file", ["server", "server (deleted)", None, "busybox"])
def test_a_program_that_changes_its_name_is_still_one(tmp_path, file):
    """Workers have their number in it. Of a file of many programs each is one."""
    with Store(tmp_path / "a.db") as store:
        ends = [make_end(number, name=f"worker {number}", file=file) for number in range(5)]
        stored = [one.is_whole for one in store.add_all(ends, per_hour=1)]
    assert stored == [True] + [file is None or file == "busybox"] * 4


def test_after_an_hour_a_program_has_its_share_again(tmp_path, monkeypatch):
    now_s = 1_000_000.0
    monkeypatch.setattr(database, "time", lambda: now_s)
    with Store(tmp_path / "a.db") as store:
        stored = store.add_all([make_end(number) for number in range(5)], per_hour=3)
        assert [one.is_whole for one in stored] == [True] * 3 + [False] * 2
        now_s += 3601
        assert store.add_all([make_end(9)], per_hour=3)[0].is_whole


def test_a_full_store_takes_from_the_program_that_has_most(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "INCIDENTS_MAX", 300)
    monkeypatch.setattr(database, "_EVICTED_AT_ONCE", 10)
    with Store(tmp_path / "a.db") as store:
        store.add_all([make_end(number, name="quiet") for number in range(20)], per_hour=10**6)
        for first in range(100, 1100, 100):
            loud = [make_end(number, name="loud") for number in range(first, first + 100)]
            store.add_all(loud, per_hour=10**6)
        names = [row.name for row in store.list_incidents()]
        assert names.count("quiet") == 20
        assert 270 <= len(names) <= 300


def test_the_incidents_of_an_earlier_version_stay(tmp_path):
    """They have no program: they are evicted like those of one."""
    with Store(tmp_path / "a.db") as store:
        number = store.add(make_report())
        with store.transaction() as ask:
            ask("UPDATE incident SET program = NULL, stored_at = NULL", ())
        store.add_all([make_end(1)], per_hour=1)
        assert [row.number for row in store.list_incidents(with_clean=True)] == [number, number + 1]
