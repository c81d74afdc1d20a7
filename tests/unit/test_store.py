"""The store, used by many at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from perimortem.errors import StoreError
from perimortem.store.database import Store

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
    old.executescript("DROP TABLE dump; PRAGMA user_version = 1;")
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
