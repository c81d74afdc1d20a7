"""Descriptors in a dump: of each kind one, as the kernel describes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

OPENING = """
import os, select, socket, sys, time
base = sys.argv[1]
kept = []
plain = os.open(base + "/plain", os.O_RDWR | os.O_CREAT | os.O_APPEND)
os.write(plain, b"x" * 100)
one, other = os.pipe()
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
client.send(b"unread")
path = base + "/unix"
unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()
dialled = socket.socket(socket.AF_UNIX); dialled.connect(path)
answered, _ = unix.accept()
epoll = select.epoll(); epoll.register(one, select.EPOLLIN)
event = os.eventfd(7)
memfd = os.memfd_create("scratch")
directory = os.open(base, os.O_RDONLY)
null = os.open("/dev/null", os.O_WRONLY)
names = dict(plain=plain, one=one, other=other, listener=listener.fileno(), client=client.fileno(),
             accepted=accepted.fileno(), unix=unix.fileno(), dialled=dialled.fileno(),
             answered=answered.fileno(), epoll=epoll.fileno(), event=event, memfd=memfd,
             directory=directory, null=null)
import json
print(json.dumps([names, listener.getsockname()[1]]), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def handles(tmp_path_factory):
    base = tmp_path_factory.mktemp("handles")
    target = subprocess.Popen(
        [sys.executable, "-c", OPENING, str(base)], stdout=subprocess.PIPE, text=True
    )
    try:
        with target.stdout as out:
            names, port = json.loads(out.readline())
        dump = [sys.executable, "-m", "perimortem"]
        path = str(base / "d.dmp")
        subprocess.run(
            [*dump, "dump", str(target.pid), "-o", path], check=True, capture_output=True
        )
        shown = subprocess.run(
            [*dump, "inspect", "--json", path, "handles"], check=True, capture_output=True
        )
        (stream,) = json.loads(shown.stdout)["streams"]
        by_number = {int(row["handle"], 16): row for row in stream["handles"]}
        yield {name: by_number[number] for name, number in names.items()}, names, port, base
    finally:
        target.kill()
        target.wait()


def test_files(handles):
    rows, _, _, base = handles
    assert rows["plain"]["type"] == "file"
    assert rows["plain"]["name"] == str(base / "plain")
    assert rows["plain"]["details"]["pos"] == 100
    assert rows["plain"]["details"]["ino"] == os.stat(base / "plain").st_ino
    assert int(rows["plain"]["granted_access"], 16) & os.O_APPEND
    assert rows["directory"]["type"] == "directory"
    assert rows["null"]["type"] == "character device"
    assert rows["memfd"]["type"] == "memfd"


def test_pipes_know_their_other_end(handles):
    rows, numbers, _, _ = handles
    assert rows["one"]["type"] == "pipe"
    assert rows["one"]["details"]["same_pipe"] == str(numbers["other"])


def test_sockets(handles):
    rows, _, port, base = handles
    listener, client, accepted = (rows[n]["details"] for n in ("listener", "client", "accepted"))
    assert (listener["state"], listener["local"]) == ("listening", f"127.0.0.1:{port}")
    assert (client["state"], client["remote"]) == ("established", f"127.0.0.1:{port}")
    assert accepted["receive_queue"] == len("unread")
    unix = rows["unix"]["details"]
    assert (unix["protocol"][:4], unix["state"], unix["local"]) == (
        "unix",
        "listening",
        str(base / "unix"),
    )
    assert rows["dialled"]["details"]["peer"] == str(base / "unix")
    assert rows["answered"]["details"]["peer"].startswith("socket:[")


def test_epoll_and_eventfd(handles):
    rows, numbers, _, _ = handles
    assert rows["epoll"]["type"] == "eventpoll"
    assert rows["epoll"]["details"]["tfd"].startswith(f"{numbers['one']} events:")
    assert rows["event"]["type"] == "eventfd"
    assert rows["event"]["details"]["eventfd-count"] == 7


def test_ipv6_addresses_are_shown_as_people_write_them():
    from perimortem.capture.linux.sockets import _address

    assert _address("0100007F:1F90") == "127.0.0.1:8080"
    raw = socket.inet_pton(socket.AF_INET6, "fe80::1")
    words = "".join(raw[at : at + 4][::-1].hex().upper() for at in range(0, 16, 4))
    assert _address(f"{words}:0050") == "[fe80::1]:80"
