"""A confined process: what it cannot do, that it finds the same, and what hostile input costs."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

import perimortem

pytestmark = pytest.mark.system

MIB = 1 << 20
PROBE = """
import ctypes, json, os, resource, socket, subprocess, sys
from pathlib import Path
from perimortem.sandbox import confine
from perimortem.sandbox.confinement import Confinement, User
user, secret, inside, outside, parent = json.loads(sys.argv[1])
opened = open(secret)
missing = confine(Confinement(256 << 20, 20, user and User(*user), (Path(inside),)))
libc = ctypes.CDLL(None, use_errno=True)
def trace():
    if libc.ptrace(16, parent, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")
ATTEMPTS = {
    "internet": lambda: socket.socket(socket.AF_INET),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "execute": lambda: subprocess.run(["/bin/true"]),
    "signal": lambda: os.kill(parent, 0),
    "trace": trace,
    "limits of another": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
    "pair of sockets": socket.socketpair,
    "handle of another": lambda: os.pidfd_open(parent),
    "own limits": lambda: resource.prlimit(0, resource.RLIMIT_NOFILE),
    "memory of another": lambda: open(f"/proc/{parent}/mem", "rb"),
    "write": lambda: open(outside + "/new", "w"),
    "replace": lambda: os.rename(secret, secret + ".old"),
    "remove": lambda: os.unlink(secret),
    "rights": lambda: os.chmod(secret, 0o777),
    "become root": lambda: os.setresuid(0, 0, 0),
    "much memory": lambda: bytearray(300 << 20),
    "lift the limit": lambda: resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40)),
    "write inside": lambda: open(inside + "/new", "w"),
    "read what was open": lambda: opened.read(),
    "some memory": lambda: bytearray(64 << 20),
}
done = {}
for name, attempt in ATTEMPTS.items():
    try:
        attempt()
        done[name] = True
    except (OSError, ValueError, MemoryError):
        done[name] = False
effective = int(open("/proc/self/status").read().split("CapEff:")[1].split()[0], 16)
print(json.dumps([list(missing), done, os.getresuid(), effective]))
"""
ALLOWED = {"write inside", "read what was open", "some memory", "own limits"}


def find_python():
    """One that other users may read."""
    for python in (sys.executable, "/usr/bin/python3"):
        code = "import sys; sys.exit(sys.version_info < (3, 11))"
        with suppress(PermissionError):
            test = subprocess.run(
                [python, "-c", f"import perimortem.sandbox; {code}"],
                user=65534,
                env={"PYTHONPATH": str(Path(perimortem.__file__).parent.parent)},
                capture_output=True,
            )
            if test.returncode == 0:
                return python
    return None


@pytest.fixture()
def open_path():
    """A directory that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("user", [None, [65534, 65534]], ids=["own", "another"])
def test_what_a_confined_process_cannot_do(open_path, user):
    python = sys.executable
    if user is not None:
        if os.geteuid() != 0:
            pytest.skip("only root takes the rights of another user")
        python = find_python()
        if python is None:
            pytest.skip("no Python here is readable for other users")
    inside, outside = open_path / "inside", open_path / "outside"
    for directory in (inside, outside):
        directory.mkdir()
        directory.chmod(0o777)
    secret = outside / "secret"
    secret.write_text("it")
    parent = subprocess.Popen(["sleep", "60"])
    try:
        arguments = json.dumps([user, str(secret), str(inside), str(outside), parent.pid])
        result = subprocess.run(
            [python, "-c", PROBE, arguments],
            env={"PYTHONPATH": str(Path(perimortem.__file__).parent.parent)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert parent.poll() is None
    finally:
        parent.kill()
        parent.wait()
    assert result.returncode == 0, result.stderr
    missing, done, uids, capabilities = json.loads(result.stdout)
    if any("no Landlock" in text for text in missing):
        pytest.skip("this kernel has no Landlock: Linux 5.13 has")
    assert missing == []
    assert {name for name, is_done in done.items() if is_done} == ALLOWED
    assert uids == ([65534] * 3 if user else [os.getuid()] * 3)
    assert capabilities in ({0} if user or os.geteuid() else {1 << 2})


@pytest.fixture(scope="module")
def dumps(tmp_path_factory, programs):
    """A dump of a C++ program that crashed, and of a Python program with threads."""
    folder = tmp_path_factory.mktemp("dumps")
    result = {}
    script = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True)"
    script += ".start()\nprint('on', flush=True)\ntime.sleep(60)"
    for name, command in (
        ("python", [sys.executable, "-c", script]),
        ("health", [programs / "health", "8"]),
    ):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as process:
            try:
                process.stdout.readline()
                result[name] = folder / f"{name}.dmp"
                perimortem.dump(process.pid, result[name], type="full")
            finally:
                process.kill()
    return result


@pytest.mark.parametrize("name", ["python", "health"])
def test_the_limit_changes_no_answer(perimortem, dumps, name):
    """With the memory it has by default, and with plenty."""
    answers = []
    for memory in ("512M", "8G"):
        perimortem.environment = {"PERIMORTEM_EXAMINE_MEMORY": memory}
        result = perimortem.call("analyze", "--json", dumps[name])
        assert result.returncode == 0, result.stderr
        answers.append(json.loads(result.stdout))
    assert answers[0] == answers[1]
    assert answers[0]["threads"][0]["frames"][0]["function"]


def test_too_little_memory_is_said(perimortem, dumps):
    perimortem.environment = {"PERIMORTEM_EXAMINE_MEMORY": "24M"}
    result = perimortem.call("analyze", dumps["python"])
    assert result.returncode == 1
    assert "PERIMORTEM_EXAMINE_MEMORY" in result.stderr
    assert "Traceback" not in result.stderr


def make_symbol_bomb(source, target, symbols=60_000, name_bytes=1_500_000):
    """Its symbol table gives one endless name to each of many symbols: 90 GB if copied for each."""
    data = bytearray(source.read_bytes())
    (table_at,) = struct.unpack_from("<Q", data, 40)
    entry_size, count = struct.unpack_from("<HH", data, 58)
    places = [table_at + index * entry_size for index in range(count)]
    sections = [list(struct.unpack_from("<IIQQQQIIQQ", data, place)) for place in places]
    text = [i for i, s in enumerate(sections) if s[1] == 1 and s[2] & 4][-2]
    (table,) = (i for i, s in enumerate(sections) if s[1] == 2)
    for index, content in (
        (
            table,
            b"".join(struct.pack("<IBBHQQ", 1, 18, 0, text, 0x1000 + i, 1) for i in range(symbols)),
        ),
        (sections[table][6], b"\0" + b"A" * name_bytes),
    ):
        sections[index][4:6] = len(data), len(content)
        data += content
    for place, section in zip(places, sections, strict=True):
        struct.pack_into("<IIQQQQIIQQ", data, place, *section)
    target.write_bytes(data)
    target.chmod(0o755)


def test_a_hostile_symbol_table_costs_no_memory_and_no_report(perimortem, programs, tmp_path):
    bomb = tmp_path / "bomb"
    make_symbol_bomb(programs / "crash_null", bomb)
    began = time.monotonic()
    report = perimortem.report(bomb)
    assert report["verdict"] == "crash"
    assert report["examination"] is not None, report["soft_errors"]
    assert time.monotonic() - began < 60
    assert len(json.dumps(report)) < MIB


def make_mangled_bomb(levels):
    """void f(pair<int,int>, pair<S0,S0>, ...): twice as long with each level."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "_Z1fSt4pairIiiE" + "".join(f"S_IS{digits[i]}_S{digits[i]}_E" for i in range(levels))


def test_a_mangled_bomb_stays_mangled(tmp_path):
    from perimortem.symbols.demangle import demangle

    for levels in (16, 20, 26, 27, 28):
        name = make_mangled_bomb(levels)
        assert demangle(name) in (name, demangle(name)[:5000])
        assert len(demangle(name)) < 5000
    long = "_ZN" + "1a" * 30 + "St4pairIS_S0_S1_S2_S3_S4_S5_S6_S7_S8_S9_SA_SB_SC_E1fEv"
    assert demangle(long).startswith("a::a::a"), "one with many back references may be harmless"


def test_debug_information_is_fetched_by_another_process(perimortem, programs, tmp_path):
    """debuginfod-find needs network and exec, which the examination has not."""
    if shutil.which("objcopy") is None:
        pytest.skip("objcopy is not installed")
    stripped = tmp_path / "crash_null"
    debug = tmp_path / "elsewhere"  # beside the program and named after it, it would be found
    subprocess.run(["objcopy", "--only-keep-debug", programs / "crash_null", debug], check=True)
    subprocess.run(["strip", "-o", stripped, programs / "crash_null"], check=True)
    find = tmp_path / "bin" / "debuginfod-find"
    find.parent.mkdir()
    find.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho {debug}\n')
    find.chmod(0o755)
    report = perimortem.report(stripped)
    (dump,) = (dump["path"] for dump in report["dumps"])
    perimortem.environment = {"PATH": f"{find.parent}:{os.environ['PATH']}"}
    result = perimortem.call("analyze", "--debuginfod", dump)
    assert "crash_null.c:" in result.stdout
    assert (tmp_path / "asked").read_text().startswith("debuginfo ")
    (tmp_path / "asked").unlink()
    perimortem.call("analyze", dump)
    assert not (tmp_path / "asked").exists()


def test_a_file_that_claims_anothers_build_id_changes_no_names(tmp_path):
    """The cache of symbol tables is shared by all examinations of a user."""
    from perimortem.symbols.cache import SymbolCache
    from perimortem.symbols.table import make_table

    cache = SymbolCache(tmp_path / "cache")
    ours, theirs = tmp_path / "libc.so", tmp_path / "evil.so"
    for path in (ours, theirs):
        path.write_bytes(bytes(1000))
        os.utime(path, (1, 1))
    evil = make_table((address, 1, b"evil") for address in range(3000))
    good = make_table((address, 1, b"good") for address in range(3000))
    assert cache.load(b"id", theirs, "symtab", lambda: evil) is evil
    found = cache.load(b"id", ours, "symtab", lambda: good)
    assert found.find(5).name == "good"
    assert cache.load(b"id", ours, "symtab", lambda: evil).find(5).name == "good"
