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
from perimortem.report.document import render_event
from perimortem.report.text import render_account
from perimortem.store.database import Store
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
