"""sd_notify messages and futex waits, decoded."""

from __future__ import annotations

import os
import select
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.beats.sd_notify import Notification, decode_notification, encode_relayed

linux = pytest.mark.skipif(sys.platform != "linux", reason="futexes and sd_notify are of Linux")


def test_what_systemd_documents():
    said = decode_notification(
        b"READY=1\nSTATUS=Processing requests\x1b[31m\nMAINPID=4711\nWATCHDOG_USEC=20000000\n"
        b"EXTEND_TIMEOUT_USEC=5\nX_UNKNOWN=1\nWATCHDOG=1\n"
    )
    assert said == Notification(
        ready=True, watchdog=True, watchdog_usec=20_000_000, extend_usec=5, main_pid=4711,
        status="Processing requests\\e[31m",
    )  # fmt: skip
    assert decode_notification(b"WATCHDOG=trigger").trigger
    assert decode_notification(b"STOPPING=1\nBARRIER=1").stopping


@pytest.mark.parametrize("number", [b"-1", b"0x10", b"1e3", b"", b"9" * 40, "٣".encode(), b"0"])
def test_numbers_that_make_no_sense_are_left_out(number):
    assert decode_notification(b"WATCHDOG_USEC=" + number).watchdog_usec is None


@given(st.binary(max_size=5000))
def test_noise_is_never_more_than_noise(noise):
    said = decode_notification(noise)
    assert said.status is None or said.status.isprintable()
    assert b"MAINPID=" not in encode_relayed(noise).split(b"\n")[0][:8]


def test_a_supervisor_hears_all_but_the_main_pid():
    assert encode_relayed(b"MAINPID=1\nREADY=1\n\nSTATUS=x\n") == b"READY=1\nSTATUS=x"


@linux
@pytest.mark.parametrize(
    ("operation", "value", "timeout", "wait"),
    [
        (0x80, 2, 0, "MUTEX"),  # lll_lock, contended
        (0x80, 2, 0x7FFF0000, "OTHER"),  # with a time limit
        (0x189, 0, 0, "CONDITION"),  # pthread_cond_wait, sem_wait
        (0x189, 0, 0x7FFF0000, "OTHER"),
        (0x109, 4712, 0, "CONDITION"),  # pthread_join: a shared futex on a thread's id
        (0x109, 1, 0, "OTHER"),  # a semaphore that another process may post
        (0x86, 0, 0, "MUTEX"),  # FUTEX_LOCK_PI
        (0x81, 1, 0, "OTHER"),  # FUTEX_WAKE
    ],
)
def test_what_a_thread_waits_for(operation, value, timeout, wait):
    from perimortem.proc.linux.futex import classify_futex
    from perimortem.procfs.futex import FutexCall

    call = FutexCall(0x1000, operation, value, timeout)
    assert classify_futex(call, [4711, 4712]).name == wait


@pytest.fixture()
def above(tmp_path):
    """Creates the socket of a supervisor, again at the same path; and opens a relay to it."""
    path = tmp_path / "notify"
    made = []

    def listen():
        path.unlink(missing_ok=True)
        made.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        made[-1].bind(str(path))
        return made[-1]

    from perimortem.beats.linux.notify_socket import Relay

    yield listen, lambda: Relay(str(path))
    for one in made:
        one.close()


def _is_ready(relay):
    return bool(select.select([relay], [], [], 0)[0])


@linux
def test_a_slow_supervisor_gets_what_is_held_as_soon_as_it_has_room(above):
    listen, open_relay = above
    supervisor, relay = listen(), open_relay()
    for number in range(100):
        relay.pass_on(b"STATUS=%d" % number, [])
    assert not _is_ready(relay)  # it has no room, and is not polled
    taken = []
    while len(taken) < 100:
        taken.append(int(supervisor.recv(64)[7:]))
        if _is_ready(relay):
            relay.flush()
    assert taken == list(range(100))
    assert not _is_ready(relay)
    relay.close()


@linux
def test_a_supervisor_that_goes_and_comes_again(above):
    listen, open_relay = above
    supervisor, relay = listen(), open_relay()
    read_fd, write_fd = os.pipe()
    for number in range(100):
        relay.pass_on(b"STATUS=%d" % number, [])
    relay.pass_on(b"BARRIER=1", [write_fd])
    supervisor.close()
    assert _is_ready(relay)
    relay.flush()
    assert not _is_ready(relay)
    assert os.read(read_fd, 1) == b""  # the barrier is not kept up by one that is gone
    os.close(read_fd)
    relay.pass_on(b"STATUS=lost", [])
    supervisor = listen()
    relay.pass_on(b"READY=1", [])
    assert supervisor.recv(64) == b"READY=1"
    relay.close()
