"""`perimortem chain` as a user runs it."""

from __future__ import annotations

import json
import shutil

import pytest

pytestmark = pytest.mark.system


def test_reporters_of_this_machine(perimortem, start, programs, tmp_path):
    """A real process with a reporter's name and arguments is found in the process table."""
    target = start("many_threads", 1)
    reporter = tmp_path / "WerFault.exe"
    shutil.copy(programs / "stacks-O0", reporter)
    chain = [target.pid]
    for number in range(20):  # many start within one tick of the clock that shows which was first
        pid = hex(chain[-1]) if number % 2 else chain[-1]
        chain.append(start([str(reporter), "rest", "-u", "-p", str(pid), "-s", "8"]).pid)
    document = json.loads(perimortem.call("chain", "--json").stdout)
    fault = next(f for f in document["first_faults"] if f["pid"] == target.pid)
    assert fault["chain"] == chain
    assert fault["process"]["name"] == "many_threads"
    assert f"many_threads {target.pid}" in perimortem.call("chain").stdout


def test_a_chain_from_a_file_and_from_standard_input(perimortem, tmp_path):
    text = (
        "PROCESS fffffa8058010380\n    SessionId: 2  Cid: 1000    Peb: 7efdf000  ParentCid: 0004\n"
        "    Image: server.exe\n"
        "PROCESS fffffa8058010390\n    SessionId: 2  Cid: 2000    Peb: 7efdf000  ParentCid: 1000\n"
        "    Image: WerFault.exe\n"
    )
    path = tmp_path / "kd.txt"
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    for result in (
        perimortem.call("chain", path),
        perimortem.call("chain", "-", input=text),
    ):
        assert "first fault: server.exe 4096 (0x1000); 1 followed" in result.stdout
    (tmp_path / "other.txt").write_text("nothing of the kind")
    result = perimortem.call("chain", tmp_path / "other.txt")
    assert result.returncode == 1
    assert "lists no process" in result.stderr
    assert perimortem.call("chain", tmp_path / "gone.txt").returncode == 1


def test_our_own_ends(perimortem, programs):
    for _ in range(2):
        perimortem.report(programs / "faults", "null")
    result = perimortem.call("chain", "--incidents", "--within", "60")
    assert "first fault: faults" in result.stdout
    assert perimortem.call("chain", "--incidents", "--within", "0.001").returncode == 0
