"""Python's lines in every account of a crash, from a small dump, without another reader."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import find_python

pytestmark = pytest.mark.system
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
CRASH = """
import ctypes, sys, threading, time
def wait_in_thread(): time.sleep(100)
def inner(address): return ctypes.string_at(address)
class Ünit:
    def outer(self): return list(map(inner, [8]))
threading.Thread(target=wait_in_thread, daemon=True).start()
def produce(): yield Ünit().outer()
for each in produce(): pass
"""
RECURSION = """
import sys
sys.setrecursionlimit(10**9)
class Endless:
    def __repr__(self): return repr(self)
def start(): repr(Endless())
start()
"""
WITHOUT_GIL = """
import ctypes
def call_without_gil():
    function = ctypes.CDLL(None).PyList_New
    function.restype = ctypes.c_void_p
    ctypes.CDLL(None).Py_DecRef(ctypes.c_void_p(8))
call_without_gil()
"""
FATAL = """
import ctypes
def give_up(): ctypes.pythonapi.Py_FatalError(b"out of ideas")
give_up()
"""


def list_python(document):
    """[(function, file, line)] of the crashed thread."""
    crashed = next(thread for thread in document["threads"] if thread["crashed"])
    return [
        (frame["function"], frame["source"]["file"], frame["source"]["line"])
        for frame in crashed["frames"]
        if frame["language"] == "python"
    ]


def without_pystack(perimortem, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "pystack.py").write_text("raise ImportError('no pystack')")
    perimortem.environment["PYTHONPATH"] = str(hidden)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_crash_has_its_python_lines(perimortem, tmp_path, version):
    python = find_python(version)
    without_pystack(perimortem, tmp_path)
    script = tmp_path / "crash.py"
    script.write_text(CRASH)
    result = perimortem.call("run", "-q", "--", python, script)
    report = json.loads(perimortem.call("show", "--json").stdout)
    frames = list_python(report["examination"])
    assert [(name, line) for name, file, line in frames if file == str(script)] == [
        ("inner", 4), ("Ünit.outer", 6), ("produce", 8), ("<module>", 9)
    ]  # fmt: skip
    assert f"python  string_at at {frames[0][1]}:{frames[0][2]}" in result.stderr
    assert f"inner at {script}:4" in result.stderr
    (dump,) = report["dumps"]
    document = json.loads(perimortem.call("analyze", "--json", dump["path"]).stdout)
    assert list_python(document) == frames
    waiting = [
        frame["function"]
        for thread in document["threads"]
        for frame in thread["frames"]
        if not thread["crashed"] and frame["language"] == "python"
    ]
    assert waiting[:1] == ["wait_in_thread"]
    core = tmp_path / "x.core"
    assert perimortem.call("convert", dump["path"], core).returncode == 0
    document = json.loads(perimortem.call("analyze", "--json", core).stdout)
    assert list_python(document) == frames


@pytest.mark.parametrize("version", VERSIONS[:3])
@pytest.mark.parametrize(
    ("source", "innermost"),
    [(RECURSION, "Endless.__repr__"), (WITHOUT_GIL, "call_without_gil"), (FATAL, "give_up")],
    ids=["recursion", "without-gil", "fatal-error"],
)
def test_ends_of_the_interpreter_itself(perimortem, tmp_path, version, source, innermost):
    python = find_python(version)
    script = tmp_path / "x.py"
    script.write_text(source)
    if source is RECURSION and version != "3.11":
        pytest.skip("since 3.12 the interpreter ends this by a RecursionError")
    perimortem.call("run", "-q", "--", python, script)
    report = json.loads(perimortem.call("show", "--json").stdout)
    assert report["verdict"] == "crash"
    frames = list_python(report["examination"])
    assert frames[0][0] == innermost
    assert frames[0][1] == str(script)


@pytest.mark.parametrize("version", VERSIONS[:3])
def test_a_small_dump_of_a_process_that_lives(perimortem, tmp_path, version):
    python = find_python(version)
    code = "def rest():\n import sys; print('ready', flush=True); sys.stdin.read()\nrest()"
    with subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout.readline() == "ready\n"
            path = tmp_path / "live.dmp"
            result = perimortem.call("dump", program.pid, "-o", path, "--type", "mini")
            assert result.returncode == 0, result.stderr
            document = json.loads(perimortem.call("stack", "--json", path).stdout)
        finally:
            program.kill()
    (thread,) = document["threads"]
    names = [frame["function"] for frame in thread["frames"] if frame["language"] == "python"]
    assert names == ["rest", "<module>"]


def test_a_triage_dump_has_no_names_of_source_files(perimortem, tmp_path):
    python = find_python("3.11")
    code = "def a_secret_name():\n import sys; print('ready', flush=True); sys.stdin.read()\n"
    code += "a_secret_name()"
    with subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout.readline() == "ready\n"
            path = tmp_path / "live.dmp"
            assert not perimortem.call(
                "dump", program.pid, "-o", path, "--type", "triage"
            ).returncode
        finally:
            program.kill()
    assert b"a_secret_name" not in path.read_bytes()
    document = json.loads(perimortem.call("stack", "--json", path).stdout)
    assert any(note.startswith("no Python frames: ") for note in document["notes"])


def test_what_pystack_logs_of_a_damaged_interpreter_is_no_noise():
    """It is raised, too. In a separate process: pytest has handlers."""
    pytest.importorskip("pystack")
    code = (
        "import logging\n"
        "from perimortem.examine.python_frames import _import_engine\n"
        "_import_engine()\n"
        "logging.getLogger('pystack._pystack').error('Failed to read a type')\n"
        "logging.getLogger('another').error('a logger that is not pystack')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "a logger that is not pystack\n")
