"""The core helper by itself: started as the kernel does, for a live process, with a core made here.

core_pattern stays as it is. `make sanitize` runs these tests with a helper that has the sanitizers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import await_true, let_others_in
from messages import make_frame

from perimortem.agent.library import find_core_helper
from perimortem.collector.layout import (
    WORK_SLOTS,
    WRITE_SLOTS,
    WRITE_SLOTS_OF_USER,
)
from perimortem.collector.linux.counts import ensure_counts, read_counts
from perimortem.wire.frames import encode_answer
from perimortem.wire.layout import SERVICE_SOCKET_NAME, FrameKind, Outcome

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="the helper takes the ids of the process"),
]

BLOCK = 4096
UNLIMITED = 2**64 - 1
USER, OTHER_USER = 60_000, 60_000 + WRITE_SLOTS // 2
"""Their parts of the slots do not overlap. No such users need exist."""


def make_core(memory: bytes) -> bytes:
    """An ELF core with one note and one segment, laid out as the kernel does."""
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    note = struct.pack("<III8s4s", 5, 4, 1, b"CORE\0", b"note")
    begin = 64 + 2 * 56
    headers = struct.pack("<IIQQQQQQ", 4, 0, begin, 0, 0, len(note), 0, 4)
    headers += struct.pack("<IIQQQQQQ", 1, 6, BLOCK, 0x10000, 0, len(memory), len(memory), BLOCK)
    return (header + headers + note).ljust(BLOCK, b"\0") + memory


CORE = make_core(b"\1" * BLOCK + bytes(100 * BLOCK) + b"\2" * 100)


@dataclass
class Held:
    """The helper in a directory like the installed one, and a process that it believes to be crashed."""

    directory: Path
    run_dir: Path
    cwd: Path
    process: subprocess.Popen[bytes]
    user: int

    @property
    def core(self) -> Path:
        return self.cwd / "core"

    @property
    def counts(self) -> dict[str, int]:
        """Those that are not 0."""
        found = read_counts(self.directory)
        assert found is not None
        return {name: number for name, number in found.items() if number}

    def start(self, *, limit: int = UNLIMITED, name: str = "sleep") -> subprocess.Popen[bytes]:
        pid, user = str(self.process.pid), str(self.user)
        arguments = [pid, "11", str(limit), "1", "1700000000", user, user, pid, name]
        return subprocess.Popen([self.directory / "core-helper", *arguments], stdin=subprocess.PIPE)

    def call(self, core: bytes = CORE, **options: object) -> None:
        """Pass ``core`` to it, and wait for its end."""
        helper = self.start(**options)
        helper.communicate(core, timeout=120)
        assert helper.returncode == 0

    def lock(self, first: int, count: int) -> int:
        """Occupy slots, until the descriptor is closed."""
        fd = os.open(self.directory / "slots", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
        return fd


@pytest.fixture()
def hold(tmp_path):
    """hold(user): a process of this user with a helper; all share one directory of the helper."""
    directory, run_dir = tmp_path / "system", tmp_path / "run"
    directory.mkdir()
    run_dir.mkdir(mode=0o700)
    let_others_in(tmp_path)
    shutil.copy(find_core_helper(), directory / "core-helper")
    (directory / "previous").write_text("core\n")
    (directory / "run_dir").write_text(f"{run_dir}\n")
    (directory / "slots").touch(0o600)
    ensure_counts(directory)
    started = []

    def start(user=0):
        cwd = tmp_path / f"cwd-{user}"
        cwd.mkdir()
        os.chown(cwd, user, user)
        process = subprocess.Popen(
            ["sleep", "1000"], cwd=cwd, user=user, group=user, extra_groups=[]
        )
        started.append(process)
        return Held(directory, run_dir, cwd, process, user)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture()
def held(hold):
    return hold()


@contextlib.contextmanager
def monitor(run_dir, behave):
    """A listener in place of the monitor; ``behave`` gets each connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(run_dir / SERVICE_SOCKET_NAME))
        listening.listen(8)
        connected = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connected.append(connection)
                    connection.recv(4096)
                    behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in connected:
            connection.close()


def allocated(path):
    return path.stat().st_blocks * 512


@pytest.mark.parametrize(
    "ending", [b"", b"\3", bytes(BLOCK), bytes(77), b"\3" * BLOCK + bytes(5)], ids=repr
)
def test_zeros_become_holes_and_nothing_else_changes(held, ending):
    """Data of one byte in a block, at its beginning or end, keeps the block."""
    blocks = [bytes(BLOCK)] * 5000
    for number in random.Random(7).sample(range(5000), 40):
        blocks[number] = b"\1".ljust(BLOCK, b"\0") if number % 2 else b"\1".rjust(BLOCK, b"\0")
    core = make_core(b"".join(blocks) + ending)
    held.call(core)
    assert held.core.read_bytes() == core
    assert allocated(held.core) <= (40 + 4) * BLOCK + 16 * BLOCK
    assert (held.core.stat().st_mode & 0o777, held.counts) == (0o600, {"core_file": 1})


@pytest.mark.parametrize("limit", [1, 4096, 5000, 12000])
def test_the_limit_is_on_data_and_cuts_the_core_there(held, limit):
    held.call(CORE, limit=limit)
    kept = held.core.read_bytes()
    assert kept == CORE[: len(kept)]
    data = {1: 1, 4096: 4096, 5000: 5000, 12000: len(CORE)}[limit]
    assert len(kept) == data


def test_a_core_whose_process_was_killed_is_marked(held):
    held.core.write_bytes(b"older")
    held.core.chmod(0o600)
    held.call(CORE[: 50 * BLOCK])
    assert held.core.read_bytes() == b"older"
    (partial,) = held.cwd.glob("*.partial")
    assert partial.name == f"core.{held.process.pid}.partial"
    assert partial.read_bytes() == CORE[: 50 * BLOCK]
    assert held.counts == {"cut_off": 1}
    held.call(CORE)  # the next helper for this pid replaces it
    assert (list(held.cwd.iterdir()), held.core.read_bytes()) == ([held.core], CORE)


def test_a_core_that_does_not_fit_leaves_no_half_file(held):
    """And the older one stays."""
    memory = os.urandom(3 << 20)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", held.cwd], check=True)
    in_it = subprocess.Popen(["sleep", "1000"], cwd=held.cwd)
    try:
        full = Held(held.directory, held.run_dir, held.cwd, in_it, 0)
        full.call(CORE)
        assert full.core.read_bytes() == CORE
        full.call(make_core(memory))
        assert (list(held.cwd.iterdir()), full.core.read_bytes()) == ([full.core], CORE)
        assert full.counts == {"core_file": 1, "not_written": 1}
    finally:
        in_it.kill()
        in_it.wait()
        subprocess.run(["umount", held.cwd], check=True)


def test_some_of_the_disk_stays_free(held):
    """A twentieth: the helper does not use the last space of a machine whose programs crash."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", held.cwd], check=True)
    in_it = subprocess.Popen(["sleep", "1000"], cwd=held.cwd)
    try:
        full = Held(held.directory, held.run_dir, held.cwd, in_it, 0)
        (held.cwd / "other").write_bytes(b"\1" * (39 << 20))
        full.call(CORE)  # 12 KiB would fit
        assert (full.core.exists(), full.counts) == (False, {"not_written": 1})
    finally:
        in_it.kill()
        in_it.wait()
        subprocess.run(["umount", held.cwd], check=True)


@pytest.mark.parametrize(
    "answers",
    [
        None,
        [],
        [b"no"],
        [b"x" * 64],
        [encode_answer(FrameKind.PONG)],
        [encode_answer(FrameKind.DONE, 77)],
        [encode_answer(FrameKind.WELCOME)],
        [encode_answer(FrameKind.WELCOME), encode_answer(FrameKind.WELCOME)],
        [encode_answer(FrameKind.WELCOME)[:-1]],
        [make_frame(FrameKind.DONE, version=9)],
    ],
    ids=["silent", "dies", "short", "noise", "pong", "outcome", "dies later", "twice", "cut",
         "version"],
)  # fmt: skip
def test_a_monitor_that_does_not_answer_costs_no_core(held, answers):
    def behave(connection):
        if answers is not None:
            for answer in answers:
                connection.send(answer)
            connection.close()

    with monitor(held.run_dir, behave):
        held.call()
    assert (held.core.read_bytes(), held.counts) == (CORE, {"core_file": 1, "unanswered": 1})
    assert not list(held.run_dir.glob("*.notes"))


def test_a_monitor_that_accepts_the_core_and_stops_costs_no_core(held):
    """It is waited for ten seconds: a dump takes its time."""
    with monitor(
        held.run_dir, lambda connection: connection.send(encode_answer(FrameKind.WELCOME))
    ):
        held.call()
    assert (held.core.read_bytes(), held.counts) == (CORE, {"core_file": 1, "unanswered": 1})


def test_a_monitor_that_is_stopped_or_overrun_costs_no_core(held):
    """Stopped: the connection is made, and never served. Overrun: none is made any more."""
    address = str(held.run_dir / SERVICE_SOCKET_NAME)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listening.bind(address)
        listening.listen(4)
        held.call()
        assert held.core.read_bytes() == CORE
        held.core.unlink()
        error = 0
        while error == 0:
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            client.setblocking(False)
            error = client.connect_ex(address)
        assert error == errno.EAGAIN
        held.call()
    assert (held.core.read_bytes(), held.counts) == (CORE, {"core_file": 2, "unanswered": 2})


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.NO_DUMP])
def test_a_monitor_that_has_taken_it_leaves_no_core(held, outcome):
    def behave(connection):
        connection.send(encode_answer(FrameKind.WELCOME))
        connection.send(encode_answer(FrameKind.DONE, outcome))

    with monitor(held.run_dir, behave):
        held.call()
    assert (list(held.cwd.iterdir()), held.counts) == ([], {"monitor": 1})


def test_a_monitor_that_refuses_has_answered(held):
    refused = encode_answer(FrameKind.REFUSED, Outcome.NOT_WATCHED)
    with monitor(held.run_dir, lambda connection: connection.send(refused)):
        held.call()
    assert (held.core.read_bytes(), held.counts) == (CORE, {"core_file": 1})


def test_a_crash_too_many_is_counted_and_let_go(held):
    """At once: nothing of it is read."""
    fd = held.lock(0, WORK_SLOTS)
    try:
        for _ in range(3):
            held.call()
        assert (list(held.cwd.iterdir()), held.counts) == ([], {"refused": 3})
    finally:
        os.close(fd)
    held.call()
    assert (held.core.read_bytes(), held.counts) == (CORE, {"core_file": 1, "refused": 3})


def test_one_user_does_not_use_up_the_slots_of_others(hold):
    """Helpers of one user that never end: writing to a file system that does not answer."""
    user, other = hold(USER), hold(OTHER_USER)
    fd = user.lock(WORK_SLOTS + USER % WRITE_SLOTS, WRITE_SLOTS_OF_USER)
    try:
        waiting = user.start()
        other.call()
        assert (other.core.read_bytes(), other.core.stat().st_uid) == (CORE, OTHER_USER)
        waiting.communicate(CORE, timeout=120)
        assert (list(user.cwd.iterdir()), user.counts) == ([], {"core_file": 1, "refused": 1})
    finally:
        os.close(fd)


def test_a_slot_is_free_when_its_helper_is_killed(held):
    helper = held.start()
    try:
        helper.stdin.write(CORE[:BLOCK])
        helper.stdin.flush()
        await_true(lambda: list(held.cwd.glob("*.partial")))
        with pytest.raises(BlockingIOError):
            held.lock(WORK_SLOTS, WRITE_SLOTS)
    finally:
        helper.kill()
        helper.communicate()
    os.close(held.lock(0, WORK_SLOTS + WRITE_SLOTS))


def test_what_lies_beside_it_may_be_removed_while_it_works(held):
    def behave(connection):
        shutil.rmtree(held.directory)
        connection.close()

    with monitor(held.run_dir, behave):
        held.call()
    assert held.core.read_bytes() == CORE


def test_without_slots_and_counts_it_works_all_the_same(held):
    (held.directory / "slots").unlink()
    (held.directory / "counts").write_bytes(b"PERI")
    held.call()
    assert held.core.read_bytes() == CORE


def test_a_handler_gets_the_core_and_its_place_is_counted(held):
    taken = held.cwd / "taken"
    script = held.directory / "handler"
    script.write_text(f'#!/bin/sh\necho "$@" > {taken}.args\nexec cat > {taken}\n')
    script.chmod(0o755)
    (held.directory / "previous").write_text(f"|{script} %s %e 100%%\n")
    with monitor(held.run_dir, lambda connection: connection.close()):  # the head has been read
        held.call()
    assert taken.read_bytes() == CORE
    taken.unlink()
    held.call(name="a name")
    assert taken.read_bytes() == CORE
    assert Path(f"{taken}.args").read_text() == "11 a name 100%\n"
    assert held.counts == {"handler": 2, "unanswered": 1}


@pytest.mark.parametrize("name", ["x" * 15, "..", "a/b", "\n\x1b[31m", "%s%n", "", "x" * 3000])
def test_a_hostile_name_stays_in_the_directory(held, name):
    (held.directory / "previous").write_text("core.%e.%e\n")
    held.call(name=name)
    found = [path.parent for path in held.cwd.rglob("*") if path.is_file()]
    assert found == ([held.cwd] if len(name) < 100 else [])


def _corrupt(offset, code, value):
    image = bytearray(CORE)
    struct.pack_into(code, image, offset, value)
    return bytes(image)


@pytest.mark.parametrize(
    "core",
    [
        b"",
        b"\x7fELF",
        os.urandom(70_000),
        bytes(200_000),
        _corrupt(32, "<Q", 2**64 - 8),  # e_phoff
        _corrupt(32, "<Q", 0),
        _corrupt(56, "<H", 0xFFFF),  # e_phnum
        _corrupt(56, "<H", 0),
        _corrupt(64 + 8, "<Q", 2**64 - 1),  # p_offset of the note
        _corrupt(64 + 32, "<Q", 2**64 - 1),  # p_filesz of the note
        _corrupt(64 + 56 + 32, "<Q", 2**64 - 1),  # p_filesz of the segment
        CORE[:100],
    ],
)
def test_a_hostile_core_is_kept_as_it_came(held, core):
    """With a monitor, which is notified of whole heads only, and without."""
    with monitor(held.run_dir, lambda connection: connection.close()):
        held.call(core)
    kept = [path.read_bytes() for path in held.cwd.iterdir()]
    assert kept == [core]


def test_odd_arguments_do_no_harm(held):
    program = held.directory / "core-helper"
    assert subprocess.run([program], stdin=subprocess.DEVNULL).returncode == 2
    for odd in ("", "-1", "x" * 100_000, "../../etc", "99999999999999999999"):
        assert subprocess.run([program, *[odd] * 9], input=CORE, timeout=120).returncode == 0
    assert not list(held.cwd.iterdir())
