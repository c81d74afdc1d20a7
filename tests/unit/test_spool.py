"""A report that the store does not take is kept in the spool, and gets into the store exactly once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys

import msgspec
import pytest

from perimortem.documents.base import encode
from perimortem.errors import MalformedInput, StoreError
from perimortem.model.process import ProcessRef
from perimortem.model.verdict import Verdict
from perimortem.monitor.incident_uid import derive_uid, make_uid
from perimortem.report.html.page import render_page
from perimortem.report.text import render_headline
from perimortem.store.database import Store
from perimortem.store.spool import Spool
from perimortem.store.store_file import StoreFile
from perimortem.store.unspool import unspool
from perimortem.testing.documents import make_report

UID = "0" * 31 + "1"
EARLY, LATE = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:09.000000Z"


@pytest.fixture()
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture()
def store(tmp_path):
    with Store(tmp_path / "incidents.db") as store:
        yield store


def bring_in(spool, store):
    return [number for numbers in unspool(spool, lambda: store) for number in numbers]


def list_all(store):
    return store.list_incidents(with_clean=True)


def test_an_entry_is_whole_private_and_replaced_by_its_uid(spool, tmp_path):
    path = spool.put(UID, "a")
    assert spool.put(UID, "b") == path
    assert [entry.text for entry in spool.list_entries()] == ["b"]
    assert [name.name for name in (tmp_path / "spool").iterdir()] == [f"{UID}.json"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_next_directory_is_used_where_the_first_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool", tmp_path / "second")
    assert spool.put(UID, "a").parent == tmp_path / "second"
    assert len(spool.list_entries()) == 1
    with pytest.raises(StoreError, match="file"):
        Spool(tmp_path / "file" / "spool").put(UID, "a")


def test_a_spooled_report_gets_into_the_store_once(spool, store):
    spool.put(UID, encode(make_report(uid=UID)))
    (number,) = bring_in(spool, store)
    assert spool.list_entries() == []
    spool.put(UID, encode(make_report(uid=UID)))  # as if it had been killed before the removal
    assert bring_in(spool, store) == [number]
    assert len(list_all(store)) == 1


def test_a_report_that_is_replaced_while_it_is_stored_stays(spool, store):
    """Two monitors: one takes the spool in, the other has a later report of the same incident."""
    spool.put(UID, encode(make_report(uid=UID, verdict=Verdict.HANG)))

    def open_store():
        spool.put(UID, encode(make_report(uid=UID, verdict=Verdict.CRASH, verdict_at=LATE)))
        return store

    (numbers,) = unspool(spool, open_store)
    assert len(spool.list_entries()) == 1
    bring_in(spool, store)
    assert store.find(numbers[0]).verdict is Verdict.CRASH


def test_an_older_report_replaces_no_fuller_one(spool, store):
    fuller = make_report(uid=UID, verdict=Verdict.CRASH, verdict_at=LATE)
    number = store.add(fuller)
    spool.put(UID, encode(make_report(uid=UID, verdict=Verdict.HANG, verdict_at=EARLY)))
    assert bring_in(spool, store) == [number]
    assert store.find(number).verdict is Verdict.CRASH
    spool.put(UID, encode(msgspec.structs.replace(fuller, verdict=Verdict.OOM_KILL)))
    bring_in(spool, store)
    assert store.find(number).verdict is Verdict.OOM_KILL


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[" * 5000, '{"schema_version": 9}', "\x00", "17", "[]", "null",
        '{"schema_version": 1, "where": null, "evidence": [], "processes": [7]}',
    ],
)  # fmt: skip
def test_what_is_no_report_is_set_aside_and_costs_no_other(spool, store, tmp_path, text):
    spool.put(UID, text)
    spool.put("f" * 32, encode(make_report(uid="f" * 32)))
    assert len(bring_in(spool, store)) == 1
    assert spool.list_entries() == []
    assert (tmp_path / "spool" / f"{UID}.unreadable").read_text() == text


def test_a_report_with_a_date_that_does_not_exist_is_refused_when_it_is_shown(store):
    """Its form is right: the store takes it."""
    report = make_report(uid=UID, verdict=Verdict.CRASH, ended_at="2026-02-30T00:00:00.000000Z")
    shown = store.find(store.add(report))
    for render in (render_headline, lambda report: render_page(report, None, None)):
        with pytest.raises(MalformedInput, match="2026-02-30"):
            render(shown)


def test_other_files_in_the_spool_are_left_alone(spool, store, tmp_path):
    spool.put(UID, encode(make_report(uid=UID)))
    folder = tmp_path / "spool"
    (folder / "notes.txt").write_text("mine")
    (folder / f".{UID}.json.17.partial").write_text("{")
    (folder / ("a" * 32 + ".json")).mkdir()
    if os.name == "posix":
        (folder / ("b" * 32 + ".json")).symlink_to("/etc/passwd")
        os.mkfifo(folder / ("c" * 32 + ".json"))
    assert len(bring_in(spool, store)) == 1
    assert (folder / "notes.txt").exists()


def test_a_locked_store_does_not_stop_the_monitor_for_long(tmp_path):
    path = tmp_path / "incidents.db"
    Store(path).close()
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    file = StoreFile(path, patience_s=0.01)
    with pytest.raises(StoreError, match="locked"):
        file.open().add(make_report(uid=UID))
    other.rollback()
    assert file.open().add(make_report(uid=UID)) == 1
    file.close()
    other.close()


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed on Windows")
def test_a_store_that_was_removed_is_made_again(tmp_path):
    path = tmp_path / "incidents.db"
    file = StoreFile(path)
    file.open().add(make_report(uid=UID))
    shutil.rmtree(tmp_path)
    file.open().add(make_report(uid="f" * 32))
    file.close()
    with Store(path) as store:
        assert len(list_all(store)) == 1


KILLED = """
import sys
from pathlib import Path
from perimortem.documents.base import encode
from perimortem.store.spool import Spool
from perimortem.testing.documents import make_report
spool = Spool(Path(sys.argv[1]))
print(flush=True)
for number in range(1_000_000):
    uid = f"{number % 7:032x}"
    spool.put(uid, encode(make_report(uid=uid, soft_errors=["x" * 5000])))
"""


def test_no_kill_leaves_half_an_entry(tmp_path, store):
    folder = tmp_path / "spool"
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        while not list(folder.glob("*.json")):
            assert process.poll() is None
        process.kill()
        process.communicate()
        bring_in(Spool(folder), store)
    assert not list(folder.glob("*.unreadable"))
    assert 1 <= len(list_all(store)) <= 7


def test_a_uid_is_of_one_watch_of_one_process():
    process = ProcessRef(17, 4711)
    uid = derive_uid(process, "boot", 3)
    assert derive_uid(process, "boot", 3) == uid
    others = [
        derive_uid(ProcessRef(17, 4712), "boot", 3),
        derive_uid(ProcessRef(18, 4711), "boot", 3),
        derive_uid(process, "later boot", 3),
        derive_uid(process, None, 3),
        derive_uid(process, "boot", 4),
        make_uid(),
    ]
    assert len({uid, *others}) == 7
    assert all(len(other) == 32 for other in others)
