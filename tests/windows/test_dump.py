"""Dumps by DbgHelp, read back by our own reader; refusals with a reason."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from perimortem.dumping import check_access, release
from perimortem.dumping.protocol import decode_hold
from perimortem.dumping.windows import pss
from perimortem.dumping.windows.rights import NAMES, choose_rights
from perimortem.dumping.windows.werfault import find_dumps, reported_pids
from perimortem.errors import ProcessGone
from perimortem.model.dump import FULL, MINI, DumpOptions, MinidumpType
from perimortem.proc import find_process
from perimortem.winapi.process import read_suspend_count
from perimortem.winapi.system_processes import list_threads

_ATTEMPTS = 40


def inspect(perimortem, path):
    result = perimortem.call("inspect", "--json", path)
    assert result.returncode == 0, result.stderr
    return {stream["name"]: stream for stream in json.loads(result.stdout)["streams"]}


def read_types(path):
    """From the header."""
    (flags,) = struct.unpack_from("<Q", path.read_bytes(), 24)
    return MinidumpType(flags)


@pytest.mark.parametrize(("kind", "is_asked"), [("mini", True), ("triage", False)])
def test_libraries_that_were_unloaded_are_asked_for(perimortem, start, kind, is_asked):
    """Not where paths are left out."""
    program = start("waits")
    path = perimortem.base / "d.dmp"
    result = perimortem.call("dump", program.pid, "-o", path, "--type", kind, "--json")
    document = json.loads(result.stdout)
    assert bool(read_types(path) & MinidumpType.WITH_UNLOADED_MODULES) is is_asked
    assert not [error for error in document["soft_errors"] if "unloaded" in error]


@pytest.mark.parametrize("kind", ["mini", "full", "0x0"])
def test_dump_and_inspect(kind, perimortem, start):
    program = start("terminated")
    path = perimortem.base / f"{kind}.dmp"
    result = perimortem.call("dump", program.pid, "-o", path, "--type", kind)
    assert result.returncode == 0, result.stderr
    streams = inspect(perimortem, path)
    assert not [stream for stream in streams.values() if "error" in stream]
    threads = streams["ThreadListStream"]["threads"]
    assert sorted(thread["id"] for thread in threads) == sorted(list_threads(program.pid))
    assert all(thread["instruction_pointer"] for thread in threads)
    names = {m["name"].rsplit("\\", 1)[-1] for m in streams["ModuleListStream"]["modules"]}
    assert {"terminated.exe", "perimortem.dll", "ntdll.dll"} <= names
    assert streams["MiscInfoStream"]["process_id"] == program.pid
    assert ("Memory64ListStream" in streams) == (kind == "full")
    assert program.popen.poll() is None
    keep = os.environ.get("PERIMORTEM_KEEP_DUMPS")
    if keep:  # for readers that run elsewhere
        Path(keep).mkdir(exist_ok=True)
        (Path(keep) / path.name).write_bytes(path.read_bytes())


def test_what_was_asked_for_and_not_written_is_said(perimortem, start):
    program = start("waits")
    result = perimortem.call("dump", program.pid, "-o", perimortem.base / "d.dmp", "--json")
    document = json.loads(result.stdout)
    streams = inspect(perimortem, perimortem.base / "d.dmp")
    said = "handle data requested, not written" in document["soft_errors"]
    assert said == ("HandleDataStream" not in streams)


def test_a_dump_never_overwrites(perimortem, start):
    program = start("waits")
    path = perimortem.base / "there.dmp"
    path.write_text("mine")
    result = perimortem.call("dump", program.pid, "-o", path)
    assert result.returncode == 1
    assert "already exists" in result.stderr
    assert path.read_text() == "mine"


def test_refusals_are_one_line(perimortem, start):
    program = start("waits")
    program.popen.kill()
    program.popen.wait()
    result = perimortem.call("dump", program.pid)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "has ended" in result.stderr or "no process" in result.stderr
    result = perimortem.call("dump", 4_000_000)
    assert "there is no process 4000000" in result.stderr


def test_a_target_that_ended_between_the_open_and_the_dump(perimortem, start):
    program = start("waits")
    process = find_process(program.pid)
    program.popen.kill()
    program.popen.wait()
    answer = _ask_worker(process, perimortem.base / "late.dmp", MINI)
    assert answer["path"] is None
    assert "ended" in answer["error"]
    assert list(perimortem.base.glob("*late*")) == []


def _worker():
    worker = Path(sys.modules["perimortem.dumping"].__file__).with_name("worker.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(worker)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _request(process, path, types):
    return (
        json.dumps(
            {
                "pid": process.pid,
                "start_time_ticks": process.start_time_ticks,
                "path": str(path),
                "options": asdict(DumpOptions(types)),
                "size_limit_bytes": 1 << 40,
            }
        )
        + "\n"
    )


def _ask_worker(process, path, types):
    out, _ = _worker().communicate(_request(process, path, types), timeout=60)
    return json.loads(out.splitlines()[-1])


def test_a_killed_worker_leaves_no_thread_suspended(perimortem, start):
    program = start("terminated")
    process = find_process(program.pid)
    tids = list_threads(program.pid)
    for attempt in range(_ATTEMPTS):
        worker = _worker()
        worker.stdin.write(_request(process, perimortem.base / f"cut-{attempt}.dmp", FULL))
        worker.stdin.flush()
        hold = decode_hold(worker.stdout.readline().encode())
        assert hold is not None
        while worker.poll() is None and not any(read_suspend_count(tid) for tid in tids):
            pass  # no rest: Wine suspends a thread only while it reads its registers
        worker.kill()
        worker.wait()
        worker.stdin.close()
        worker.stdout.close()
        if any(read_suspend_count(tid) for tid in tids):
            break
    else:
        pytest.fail("no worker could be killed while it held the target")
    release(program.pid, hold)
    assert not any(read_suspend_count(tid) for tid in tids)


def _name(rights):
    return ", ".join(name for bit, name in NAMES.items() if rights & bit)


def test_only_the_rights_that_the_flags_need_are_asked_for():
    assert _name(choose_rights(MinidumpType.NORMAL)) == (
        "PROCESS_QUERY_INFORMATION, PROCESS_VM_READ"
    )
    assert "PROCESS_DUP_HANDLE" in _name(choose_rights(MINI))


def test_access_to_what_is_gone_is_refused(start):
    program = start("waits")
    check_access(program.pid, DumpOptions(MINI))
    program.popen.kill()
    program.popen.wait()
    with pytest.raises(ProcessGone):
        check_access(program.pid, DumpOptions(MINI))


@pytest.mark.parametrize(
    ("command_line", "pids"),
    [
        (r"C:\Windows\system32\WerFault.exe -u -p 4711 -s 624", {4711}),
        (r"C:\Windows\System32\WerFault.exe -pss -s 1296 -p 4711 -ip 4711", {4711}),
        ("WerFault.exe -u -p 12 -ip 34 -s 56", {12, 34}),
        ("WerFault.exe -k -lc -w", set()),
        ("notepad.exe -pipe 4711", set()),
    ],
)
def test_the_process_that_a_werfault_works_on(command_line, pids):
    assert reported_pids(command_line) == pids


def test_what_windows_wrote_of_a_process_is_found(tmp_path):
    (tmp_path / "app.exe.4711.dmp").write_bytes(b"MDMP")
    (tmp_path / "app.exe.47110.dmp").write_bytes(b"MDMP")
    found = find_dumps(4711, 0, [tmp_path, tmp_path / "absent"])
    assert [path.name for path in found] == ["app.exe.4711.dmp"]


def test_a_werfault_at_work_is_awaited(perimortem, start, programs, tmp_path):
    """A program of that name with that command line, since Wine has no reporter."""
    import shutil

    fake = tmp_path / "WerFault.exe"
    shutil.copy(programs / "waits.exe", fake)
    program = start("waits")
    reporter = start(fake, "-u", "-p", program.pid, "-s", 1)
    dump = perimortem.start("dump", program.pid, "-o", tmp_path / "d.dmp")
    with pytest.raises(subprocess.TimeoutExpired):
        dump.wait(2)
    reporter.popen.kill()
    assert dump.wait(30) == 0, dump.stderr.read()


def test_a_snapshot_is_taken_where_there_is_one():
    """On fakes: Wine 8 has no PssCaptureSnapshot. Not proven on Windows."""
    calls = []

    def capture(process, flags, context, out):
        calls.append(("capture", process, flags))
        out._obj.value = 77
        return 0

    def free(_process, snapshot):
        calls.append(("free", snapshot.value))
        return 0

    with pss.take_snapshot(11, MINI, capture, free) as (snapshot, why):
        assert (snapshot, why) == (77, "")
    assert [call[0] for call in calls] == ["capture", "free"]
    assert calls[0][2] & 0x4, "handles, which were requested"
    assert not pss.choose_flags(MinidumpType.NORMAL) & 0x4


def test_a_snapshot_that_fails_is_said_and_the_process_is_dumped():
    with pss.take_snapshot(11, MINI, lambda *_: 5, lambda *_: 0) as (snapshot, why):
        assert snapshot is None
        assert "error 5" in why
    with pss.take_snapshot(11, MINI, None, None) as (snapshot, why):
        assert snapshot is None
        assert "no PssCaptureSnapshot" in why
