"""Hostile and broken clients: none of them hurts the monitor, or keeps another from being served."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, await_true, list_dumped
from messages import ask, connect, make_crash, make_frame

from perimortem.errors import MalformedInput
from perimortem.wire.layout import (
    CRASH_MESSAGE_SIZE,
    WIRE_VERSION,
    FrameKind,
    Outcome,
)

pytestmark = pytest.mark.system

RANDOM_MESSAGES = 100_000
DESCRIPTORS_AT_REST = 40
"""Of an idle monitor, with its spare worker and its store."""


@pytest.fixture()
def monitor(perimortem):
    command = perimortem.start("monitor")
    assert "serving" in command.stderr.readline()
    command.socket_path = perimortem.run_dir / "monitor.sock"
    yield command
    assert ask(command.socket_path, make_frame(FrameKind.PING, value=77)).value == 77
    command.send_signal(signal.SIGINT)
    _, stderr = command.communicate(timeout=60)
    assert command.returncode == 0, stderr
    assert "Traceback" not in stderr


def descriptors(monitor):
    return len(os.listdir(f"/proc/{monitor.pid}/fd"))


def resident_kib(monitor):
    text = Path(f"/proc/{monitor.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])


FUZZER = """
import random, socket, sys
sys.path[:0] = {path!r}
from messages import connect, make_crash, make_frame
from perimortem.wire.layout import CRASH_MESSAGE_SIZE
path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
client, sent = None, 0
while sent < count:
    if client is None:
        client = connect(path)
        client.setblocking(False)
    kind = chance.randrange(8)
    if kind == 0:
        data = chance.randbytes(chance.randrange(1, 3000))
    else:
        data = bytearray(make_crash() if kind < 3 else make_frame(chance.randrange(12)))
        for _ in range(chance.choice((0, 1, 2, 30))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            data = data[: chance.randrange(1, len(data))]
        if chance.random() < 0.1:
            data = data + chance.randbytes(chance.randrange(1, 2000))
    try:
        client.send(data)
        sent += 1
        if chance.random() < 0.3:
            client.recv(4096)
    except BlockingIOError:
        continue
    except OSError:
        client.close()
        client = None
    else:
        if chance.random() < 0.02:
            client.close()
            client = None
print(sent)
"""


def test_100_000_random_messages(perimortem, monitor):
    """From four processes; meanwhile others are served."""
    before_kib = resident_kib(monitor)
    code = FUZZER.format(path=[str(ROOT / "tests")])
    seed = int(os.environ.get("PERIMORTEM_TEST_SEED", random.randrange(1 << 30)))
    print("PERIMORTEM_TEST_SEED =", seed)
    share = RANDOM_MESSAGES // 4
    fuzzers = [
        subprocess.Popen(
            [sys.executable, "-c", code, monitor.socket_path, str(seed + i), str(share)],
            stdout=subprocess.PIPE, text=True,
        )
        for i in range(4)
    ]  # fmt: skip
    served = 0
    while any(fuzzer.poll() is None for fuzzer in fuzzers):
        assert ask(monitor.socket_path, make_frame(FrameKind.PING, value=5)).value == 5
        served += 1
        time.sleep(0.02)
    assert [fuzzer.communicate()[0] for fuzzer in fuzzers] == [f"{share}\n"] * 4
    assert served > 10
    await_true(lambda: descriptors(monitor) < DESCRIPTORS_AT_REST)
    assert resident_kib(monitor) - before_kib < 40_000


@pytest.mark.parametrize("size", [1, 63, 64, 65, 100, CRASH_MESSAGE_SIZE - 1, 4000])
def test_a_client_that_disconnects_in_mid_message_does_no_harm(monitor, size):
    message = (make_crash() * 3)[:size]
    with connect(monitor.socket_path) as client:
        client.send(message)
    assert ask(monitor.socket_path, make_frame(FrameKind.PING, value=5)).value == 5
    await_true(lambda: descriptors(monitor) < DESCRIPTORS_AT_REST)


def test_a_client_that_disconnects_after_each_possible_byte(monitor):
    message = make_crash()
    for size in range(1, len(message)):
        with connect(monitor.socket_path) as client:
            client.send(message[:size])
    for _ in range(100):
        connect(monitor.socket_path).close()
    await_true(lambda: descriptors(monitor) < DESCRIPTORS_AT_REST)


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (make_frame(FrameKind.HELLO, version=WIRE_VERSION + 1), Outcome.WRONG_VERSION),
        (make_frame(FrameKind.WELCOME), Outcome.MALFORMED),
        (make_frame(99), Outcome.MALFORMED),
        (make_frame(FrameKind.CRASH), Outcome.MALFORMED),
        (make_frame(FrameKind.PING) + b"more", Outcome.MALFORMED),
        (b"GET / HTTP/1.1\r\n\r\n", Outcome.MALFORMED),
        (make_crash()[:-9] + bytes(9), Outcome.MALFORMED),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(monitor, message, outcome):
    answer = ask(monitor.socket_path, message)
    assert (answer.kind, answer.outcome) == (FrameKind.REFUSED, outcome)


def flood(client):
    """Until the socket is full, or was closed."""
    try:
        for _ in range(1_000_000):
            client.send(make_frame(FrameKind.PING))
    except OSError:
        return
    pytest.fail("everything was taken")


def test_a_client_that_says_leave_and_ends_at_once(perimortem, monitor):
    code = (
        "import perimortem, os\nguard = perimortem.spawn_and_attach(); guard.release(); os._exit(0)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=perimortem.env) for _ in range(40)
    ]
    assert {process.wait(timeout=60) for process in started} == {0}


def test_a_client_that_never_reads_is_dropped_and_others_are_served(monitor):
    with connect(monitor.socket_path) as client:
        client.setblocking(False)
        flood(client)
        await_true(lambda: descriptors(monitor) < DESCRIPTORS_AT_REST)
        assert ask(monitor.socket_path, make_frame(FrameKind.PING, value=9)).value == 9


def test_thousands_of_silent_connections_do_not_keep_a_crash_away(perimortem, monitor):
    silent = [connect(monitor.socket_path) for _ in range(3000)]
    code = "import perimortem, ctypes; perimortem.spawn_and_attach(); ctypes.string_at(16)"
    result = subprocess.run([sys.executable, "-c", code], env=perimortem.env)
    assert result.returncode == -signal.SIGSEGV
    await_true(lambda: list_dumped(perimortem))
    for client in silent:
        client.close()
    await_true(lambda: descriptors(monitor) < DESCRIPTORS_AT_REST)


def test_a_crash_reported_repeatedly_is_dumped_once(perimortem, monitor):
    """And the client that falsely reports a crash goes on."""
    path = [str(ROOT / "tests")]
    code = (
        f"import sys, os; sys.path[:0] = {path!r}\n"
        "from messages import *; from perimortem.wire.layout import Outcome\n"
        f"c = connect({str(monitor.socket_path)!r})\n"
        "for i in range(50):\n"
        "    c.send(make_crash(pid=1))\n"
        "    answer = Frame.read(c.recv(4096))\n"
        "    assert (answer.kind, answer.outcome) == (FrameKind.DONE, Outcome.OK), answer\n"
        "c.send(make_crash() * 2)\n"
        "c.close()\n"
        f"for i in range(50): ask({str(monitor.socket_path)!r}, make_crash(pid=1))\n"
        "print('on')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "on\n", result.stderr
    assert len(list((perimortem.data_dir / "dumps").glob("*.dmp"))) == 1
    shown = {}

    def has_ended():
        """From its crash on it is in the store: at first without its end."""
        for incident in json.loads(perimortem.call("list", "--json", "-a").stdout):
            shown.update(json.loads(perimortem.call("show", "--json", incident["number"]).stdout))
        return shown and shown["exit"]["code"] is not None

    await_true(has_ended)
    assert len(json.loads(perimortem.call("list", "--json", "-a").stdout)) == 1
    assert shown["exit"]["code"] == 0
    assert any("and it went on" in e["fact"] for e in shown["evidence"])


@pytest.mark.parametrize("damage", ["cut", "noise", "replaced", "gone"])
def test_a_crash_is_reported_even_if_the_recorder_is_damaged(perimortem, monitor, damage):
    code = (
        "import perimortem, sys, ctypes; perimortem.spawn_and_attach(); print(flush=True); input()"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code + "; ctypes.string_at(16)"], env=perimortem.env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    program.stdout.readline()
    (recorder,) = perimortem.run_dir.glob("*.rec")
    if damage == "cut":  # into its middle: the pages that are left bear the note
        os.truncate(recorder, 12288)
    elif damage == "noise":
        with open(recorder, "r+b") as file:
            file.write(os.urandom(4096))
    elif damage == "replaced":
        other = recorder.with_suffix(".other")
        other.write_bytes(os.urandom(77824))
        other.rename(recorder)
    else:
        recorder.unlink()
    program.communicate("\n", timeout=60)
    if program.returncode == -signal.SIGBUS and damage == "cut":
        return  # the agent's own thread wrote into a page that is gone: no crash to report
    assert program.returncode == -signal.SIGSEGV
    await_true(lambda: list_dumped(perimortem))
    (incident,) = list_dumped(perimortem)
    assert incident["verdict"] == "crash"


def test_a_monitor_of_a_command_serves_its_own_only(perimortem, programs):
    command = perimortem.start("run", "--", programs / "crash_handlers", "wait")
    assert command.stdout.readline() == "ready\n"
    (path,) = perimortem.run_dir.glob(f"{command.pid}.sock")
    answer = ask(path, make_crash())
    assert (answer.kind, answer.outcome) == (FrameKind.REFUSED, Outcome.NOT_WATCHED)
    answer = ask(path, make_frame(FrameKind.HELLO, pid=command.pid))
    assert answer.outcome == Outcome.NOT_WATCHED
    assert not list((perimortem.data_dir / "dumps").glob("*.dmp"))
    command.terminate()  # and with it its program
    command.communicate(timeout=30)


def test_descriptors_run_out_and_come_back(perimortem):
    """Meanwhile new clients are refused; the monitor does not spin, and serves again once it can."""
    command = perimortem.start(
        "monitor",
        "--dump-type",
        "none",
        preexec_fn=lambda: __import__("resource").setrlimit(7, (40, 40)),
    )
    assert "serving" in command.stderr.readline()
    path = perimortem.run_dir / "monitor.sock"
    clients = [connect(path) for _ in range(100)]
    stat = Path(f"/proc/{command.pid}/stat")

    def cpu():
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    def is_calm():
        before = cpu()
        time.sleep(0.5)
        return cpu() - before <= 1

    await_true(is_calm)
    for client in clients:
        client.close()
    await_true(lambda: ask_or_none(path) == 3)


def ask_or_none(path):
    try:
        return ask(path, make_frame(FrameKind.PING, value=3)).value
    except (OSError, MalformedInput):  # refused, perhaps without an answer
        return None
