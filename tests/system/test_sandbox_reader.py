"""A confined child that may read one process, and nothing else of others."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from perimortem.errors import PerimortemError
from perimortem.examine import python_frames
from perimortem.sandbox import ask_confined
from perimortem.sandbox.confinement import Confinement

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the sandbox of Linux")
MIB = 1 << 20


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


def read_other(pid):
    """The first bytes of its first mapping."""
    start = int(Path(f"/proc/{pid}/maps").read_text().split("-", 1)[0], 16)
    buffer = ctypes.create_string_buffer(16)
    ours, its = _Part(ctypes.addressof(buffer), 16), _Part(start, 16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(its), 1, 0) != 16:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")


@pytest.fixture()
def sleepers():
    """Two processes."""
    both = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield [process.pid for process in both]
    for process in both:
        process.kill()
        process.wait()


def test_it_reads_one_process_and_changes_nothing(sleepers, tmp_path):
    pid, other = sleepers
    secret = tmp_path / "secret"
    secret.write_text("it")
    attempts = {
        "read it": lambda: read_other(pid),
        "read a file": secret.read_text,
        "read another": lambda: read_other(other),
        "trace it": lambda: trace(pid),
        "end it": lambda: os.kill(pid, signal.SIGKILL),
        "write a file": lambda: secret.open("r+"),
        "write a new file": lambda: (tmp_path / "new").open("w"),
        "write its memory": lambda: Path(f"/proc/{pid}/mem").write_bytes(b"x"),
        "cut": lambda: os.truncate(secret, 0),
        "rename": lambda: secret.rename(tmp_path / "other"),
        "remove": secret.unlink,
        "directory": (tmp_path / "directory").mkdir,
        "link": lambda: os.symlink(secret, tmp_path / "link"),
        "network": lambda: socket.socket(socket.AF_INET),
        "execute": lambda: subprocess.run(["/bin/true"]),
        "memory": lambda: bytearray(600 * MIB),
    }

    def work():
        done = []
        for name, attempt in attempts.items():
            with suppress(OSError, MemoryError):
                attempt()
                done.append(name)
        return msgspec.json.encode(done)

    answer = ask_confined(work, Confinement(reads_process=pid), 30)
    assert msgspec.json.decode(answer) == ["read it", "read a file"]
    assert secret.read_text() == "it"


def test_a_child_that_dies_hangs_or_floods_is_one_line():
    def say(work, patience_s=30.0):
        with pytest.raises(PerimortemError) as raised:
            ask_confined(work, Confinement(), patience_s)
        return str(raised.value)

    assert "it ended by SIG" in say(os.abort)
    assert "status 1" in say(lambda: 1 // 0)
    assert "too long" in say(lambda: bytes(17 * MIB))
    assert "too long" in say(lambda: time.sleep(60), 0.2)


def test_python_frames_of_a_process_on_which_pystack_dies(monkeypatch):
    engine = pytest.importorskip("pystack.engine")
    monkeypatch.setattr(engine, "get_process_threads", lambda *_, **__: os.abort())
    with pytest.raises(python_frames.NoPythonFrames, match="it ended by SIG"):
        python_frames.read_live(os.getpid())
