"""Hostile, broken and silent clients of the service socket, beside an honest one that waits for answers.

Cases: mutated:FRAMES:SEED, idle:CONNECTIONS, slow:CLIENTS, lying:CLIENTS, stopped:CLIENTS. After each
the crash of an honest program must be in the store.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import random
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from perimortem.errors import MalformedInput
from perimortem.recorder.layout import CrashNote, CrashState
from perimortem.wire.layout import SERVICE_SOCKET_NAME, WIRE_MAGIC, WIRE_VERSION, Frame, FrameKind

from .place import Place, await_pid
from .processes import read_memory_mb
from .row import Plan, Played, Row
from .scenarios import TARGET

_PAUSE_S = 0.005
"""Between two pings of the honest client."""
_LEAST_S = 2.0
"""A load that is over sooner goes on being there, so that the honest client is measured."""
_SENDERS = 4


class Frames(Row):
    name = "frames"
    title = "hostile clients of the service socket"
    zeros = ("lost", "reported twice", "no answer", "failed")
    jobs = 1  # what is measured is how long an answer takes

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """The kinds first, then mutated frames without end."""
        chance = random.Random(plan.seed)
        few = 20_000 if plan.is_short else 100_000
        yield f"mutated:{few}:{chance.randrange(1 << 31)}"
        yield f"idle:{1000 if plan.is_short else 5000}"
        yield "stopped:20"
        yield "slow:100"
        yield "lying:100"
        while not plan.is_short:
            yield f"mutated:{few}:{chance.randrange(1 << 31)}"

    def play(self, case: str) -> Played:
        kind, count, *rest = case.split(":")
        played = Played()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
            place = Place(Path(folder), PERIMORTEM_DUMPS_PER_HOUR="3")
            monitor = place.start_monitor()
            if monitor is None:
                raise RuntimeError("the monitor did not start")
            before_mb = read_memory_mb(monitor.pid)
            path = place.run_dir / SERVICE_SOCKET_NAME
            honest = _Honest(path)
            begin = time.monotonic()
            _LOADS[kind](place, path, int(count), [int(word) for word in rest], played, stack)
            honest.go_on_until(begin + _LEAST_S)
            honest.report(played)
            played.worst["memory gained, MB"] = round(read_memory_mb(monitor.pid) - before_mb, 1)
            pid = _crash(place)
            said = place.end_monitor(monitor)
            if "Traceback" in said:
                played.fail("failed", said[-1000:])
            place.check_reported(played, {pid: "crash"})
            place.note_pause(played)
        return played


class _Honest(threading.Thread):
    """Connects, pings and goes, again and again."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._until_s: float | None = None
        self._waits_s: list[float] = []
        self._failures: list[str] = []
        self.start()

    def run(self) -> None:
        while self._until_s is None or time.monotonic() < self._until_s:
            since = time.monotonic()
            try:
                with connect(self._path) as client:
                    client.send(make_frame(FrameKind.PING, value=7))
                    if Frame.read(client.recv(4096)).value != 7:
                        self._failures.append("a wrong answer")
            except (OSError, MalformedInput, struct.error) as error:
                self._failures.append(f"{type(error).__name__}: {error}")
            self._waits_s.append(time.monotonic() - since)
            time.sleep(_PAUSE_S)

    def go_on_until(self, due_s: float) -> None:
        self._until_s = due_s
        self.join()

    def report(self, played: Played) -> None:
        waits_s = sorted(self._waits_s)
        played.add("pings", len(waits_s))
        played.worst["ping p99, ms"] = round(waits_s[int(len(waits_s) * 0.99)] * 1e3, 1)
        played.worst["ping longest, ms"] = round(waits_s[-1] * 1e3, 1)
        if self._failures:
            what = f"{len(self._failures)} of {len(waits_s)} pings, first: {self._failures[0]}"
            played.fail("no answer", what)


def make_frame(kind: int, *, pid: int = 0, value: int = 0) -> bytes:
    return Frame(WIRE_MAGIC, WIRE_VERSION, kind, 0, pid, 1, 0, 0, 0, value, 0, 0).to_bytes()


def make_crash(pid: int) -> bytes:
    """A whole CRASH message without a crash."""
    fields: dict[str, Any] = {name: 0 for name, *_ in CrashNote.offsets()}
    fields |= {"thread_name": bytes(16), "module": bytes(256), "context": bytes(1280)}
    fields |= {"code": signal.SIGSEGV, "si_code": 1, "tid": pid, "state": CrashState.FATAL}
    image = bytearray(CrashNote(**fields).to_bytes())
    offsets = {name: offset for name, _, offset, _ in CrashNote.offsets()}
    struct.pack_into("<I", image, offsets["crc32"], zlib.crc32(image[: offsets["state"]]))
    return make_frame(FrameKind.CRASH, pid=pid) + bytes(image)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed; sometimes cut, or longer."""
    changed = bytearray(data)
    for _ in range(chance.choice((0, 1, 2, 30))):
        changed[chance.randrange(len(changed))] = chance.choice(
            (0, 1, 127, 128, 255, chance.randrange(256))
        )
    if chance.random() < 0.2:
        del changed[chance.randrange(1, len(changed) + 1) :]
    if chance.random() < 0.1:
        changed += chance.randbytes(chance.randrange(1, 2000))
    return bytes(changed)


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(20)
    client.connect(str(path))
    return client


def _send_mutated(
    _place: Place, path: Path, count: int, rest: list[int], played: Played, _stack: ExitStack
) -> None:
    """From processes, since each has its own place in the monitor's tables."""
    (seed,) = rest
    children = []
    for sender in range(_SENDERS):
        pid = os.fork()
        if pid == 0:
            _send(path, count // _SENDERS, random.Random(seed * _SENDERS + sender))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    played.add("mutated frames", count)


def _send(path: Path, count: int, chance: random.Random) -> None:
    client: socket.socket | None = None
    sent = 0
    while sent < count:
        try:
            if client is None:
                client = connect(path)
                client.setblocking(False)
            kind = chance.randrange(8)
            whole = make_crash(os.getpid()) if kind < 2 else make_frame(chance.randrange(12))
            client.send(
                chance.randbytes(chance.randrange(1, 3000)) if kind == 7 else mutate(whole, chance)
            )
            sent += 1
            if chance.random() < 0.3:
                client.recv(4096)
        except BlockingIOError:
            continue
        except OSError:
            if client is not None:
                client.close()
            client = None


def _open_idle(
    _place: Place, path: Path, count: int, _rest: list[int], played: Played, stack: ExitStack
) -> None:
    """More than the monitor takes: it drops the oldest."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 500, hard), hard))
    for _ in range(min(count, hard - 500)):
        stack.enter_context(connect(path))
        played.add("idle connections")


def _be_slow(
    _place: Place, path: Path, count: int, _rest: list[int], played: Played, stack: ExitStack
) -> None:
    """Each sends, and never reads."""
    clients = [stack.enter_context(connect(path)) for _ in range(count)]
    for client in clients:
        client.setblocking(False)
    for _ in range(200):
        for client in clients:
            with suppress(OSError):
                client.send(make_frame(FrameKind.PING))
                played.add("frames of slow clients")


def _lie(
    _place: Place, path: Path, count: int, _rest: list[int], played: Played, stack: ExitStack
) -> None:
    """They report crashes that did not happen, of themselves and of others, and say that they leave."""
    for number in range(count):
        client = stack.enter_context(connect(path))
        for message in (
            make_frame(FrameKind.HELLO, pid=1),
            make_crash(1),
            make_crash(os.getpid()),
            make_frame(FrameKind.CORE, pid=os.getppid()),
            make_frame(FrameKind.DONE),
            make_frame(FrameKind.LEAVE) if number % 10 == 0 else make_frame(FrameKind.PING),
        ):
            with suppress(OSError):
                client.send(message)
                played.add("lies")


def _stop_clients(
    place: Place, _path: Path, count: int, _rest: list[int], played: Played, stack: ExitStack
) -> None:
    """They crash; each is stopped as soon as it has said so."""
    for number in range(count):
        target, _ = _start_target(place, place.base / f"stopped-{number}")
        assert target.stdin is not None
        target.stdin.write("\n")
        target.stdin.flush()
        os.kill(target.pid, signal.SIGSTOP)
        played.add("stopped clients")
        stack.callback(target.wait)
        stack.callback(os.kill, target.pid, signal.SIGCONT)


Load = Callable[[Place, Path, int, list[int], Played, ExitStack], None]
_LOADS: dict[str, Load] = {
    "mutated": _send_mutated,
    "idle": _open_idle,
    "slow": _be_slow,
    "lying": _lie,
    "stopped": _stop_clients,
}


def _start_target(place: Place, pid_file: Path) -> tuple[subprocess.Popen[str], int]:
    target = subprocess.Popen(
        [str(TARGET), str(pid_file), "crash", "attach"], text=True, env=place.environment,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pid = await_pid(pid_file, target)
    if pid is None:
        raise RuntimeError("the target did not start")
    return target, pid


def _crash(place: Place) -> int:
    """The pid of an honest program that crashed."""
    target, pid = _start_target(place, place.base / "honest")
    target.communicate("\n", timeout=60)
    return pid
