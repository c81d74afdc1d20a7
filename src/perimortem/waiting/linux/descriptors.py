"""A wait for descriptors: read(2), write(2), recv(2), poll(2), select(2), epoll(7).

Who can make them ready?
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

assert sys.platform == "linux"

from perimortem.model.wait_graph import Wait, WaitsFor
from perimortem.procfs.file import read_file, read_record
from perimortem.procfs.status import find_field
from perimortem.text import printable
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.peers import Peers, has_time_limit, has_user_timeout
from perimortem.waiting.linux.threads import ThreadFacts

READS = frozenset({"read", "readv", "recvfrom", "recvmsg", "recvmmsg"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg", "sendmmsg"})
POLLS = frozenset(
    {"poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"}
)
_POLL = struct.Struct("<ihh")
_POLLED_MAX = 4096
_LOOKED_AT_MAX = 256
"""Descriptors of one poll; with more, something outside is assumed."""
_FOREVER = -1


@dataclass(frozen=True)
class _End:
    """What one descriptor waits for."""

    what: WaitsFor
    text: str
    wakers: frozenset[int] = frozenset()
    outside: str = ""
    holders: tuple[int, ...] = ()


def find_descriptor_wait(thread: ThreadFacts, look: Look, peers: Peers) -> Wait:
    """In a call that reads or writes one."""
    number = thread.number(0)
    is_reading = thread.call in READS
    end = _find_end(thread, look, peers, number, writes=not is_reading)
    verb = "read" if is_reading else "write"
    outside = end.outside
    if not outside and end.what is WaitsFor.SOCKET:
        outside = has_time_limit(thread.pid, number, is_reading=is_reading)
    return Wait(
        end.what,
        f"{verb} of descriptor {number}: {end.text}",
        (thread.call, number, *end.holders),
        end.wakers,
        outside=outside,
        ends_by_death=True,
    )


def find_poll_wait(thread: ThreadFacts, look: Look, peers: Peers) -> Wait:
    """In a call that waits for any of several."""
    key: tuple[int | str, ...] = (thread.call, *thread.arguments[:4])
    if not _is_endless(thread):
        text = f"an event ({thread.call}), with a time limit"
        return Wait(WaitsFor.DESCRIPTOR, text, key, outside="a time limit")
    polled = _list_polled(thread, look)
    if polled is None or len(polled) > _LOOKED_AT_MAX:
        text = f"an event ({thread.call})"
        why = "its descriptors are not known" if polled is None else "one of very many descriptors"
        return Wait(WaitsFor.DESCRIPTOR, text, key, outside=why)
    ends = []
    for number in polled:
        ends.append((number, _find_end(thread, look, peers, number, writes=None)))
        if ends[-1][1].outside:
            break  # one is enough
    if not ends:
        return Wait(WaitsFor.SIGNAL, f"a signal ({thread.call})", key, outside="a signal")
    said = "; ".join(f"descriptor {number}: {end.text}" for number, end in ends[-2:])
    return Wait(
        WaitsFor.DESCRIPTOR,
        f"{thread.call} of {said}",
        (*key, *(holder for _, end in ends for holder in end.holders)),
        frozenset[int]().union(*(end.wakers for _, end in ends)),
        outside=next((end.outside for _, end in ends if end.outside), ""),
        ends_by_death=True,
    )


def _find_end(
    thread: ThreadFacts, look: Look, peers: Peers, number: int, *, writes: bool | None
) -> _End:
    """``writes``: None if it is polled, which the other end's end wakes, too."""
    path = f"/proc/{thread.pid}/task/{thread.tid}/fd/{number}"
    try:
        target = os.readlink(path)
        facts = os.stat(path)
    except OSError:
        return _End(WaitsFor.OTHER, "not known", outside="it may not be read")
    if target.startswith("pipe:"):
        return _find_pipe_end(look, target, path, writes=writes)
    if target.startswith("socket:"):
        end = _find_peer(thread.pid, look, peers, target)
        is_limited = writes is None and not end.outside and has_user_timeout(thread.pid, number)
        return replace(end, outside="a time limit (TCP_USER_TIMEOUT)") if is_limited else end
    if target == "anon_inode:[pidfd]":
        return _find_process_end(thread, look, number)
    if target == "anon_inode:[eventfd]":
        return _find_eventfd_end(thread, look, number)
    return _find_outside(target, facts)


def _find_pipe_end(look: Look, target: str, path: str, *, writes: bool | None) -> _End:
    own_access = os.lstat(path).st_mode
    waits_for_readers = own_access & stat.S_IWUSR if writes is None else writes
    waits_for_writers = own_access & stat.S_IRUSR if writes is None else not writes
    holders: list[int] = []
    if waits_for_readers:
        holders += look.ends.list_holders(target, os.R_OK)
    if waits_for_writers:
        holders += look.ends.list_holders(target, os.W_OK)
    if not holders:
        return _End(WaitsFor.PIPE, "a pipe", outside="one who holds its other end")
    wakers, foreign = look.threads_of(tuple(dict.fromkeys(holders)))
    outside = foreign or look.ends.find_unknown()
    verb = "reads" if waits_for_readers else "writes"
    text = f"a pipe that {look.describe(dict.fromkeys(holders))} {verb}"
    return _End(WaitsFor.PIPE, text, wakers, outside, tuple(holders))


def _find_peer(pid: int, look: Look, peers: Peers, target: str) -> _End:
    inode = target.removeprefix("socket:[").removesuffix("]")
    peer = peers.find(pid, inode)
    if peer is None:
        return _End(WaitsFor.SOCKET, "a socket", outside="the network, or a new connection")
    holders = look.ends.list_holders(f"socket:[{peer}]")
    if not holders:
        return _End(WaitsFor.SOCKET, "a socket", outside="the other end of the socket is not known")
    wakers, foreign = look.threads_of(tuple(holders))
    outside = foreign or look.ends.find_unknown()
    text = f"a socket to {look.describe(holders)}"
    return _End(WaitsFor.SOCKET, text, wakers, outside, tuple(holders))


def _find_process_end(thread: ThreadFacts, look: Look, number: int) -> _End:
    raw = read_record(f"/proc/{thread.pid}/task/{thread.tid}/fdinfo/{number}")
    pid = find_field(raw, "Pid") or ""
    if not pid.isdecimal() or int(pid) <= 0:
        return _End(WaitsFor.CHILD, "the end of a process", outside="not known")
    wakers, foreign = look.threads_of((int(pid),))
    text = f"the end of {look.describe([int(pid)])}"
    return _End(WaitsFor.CHILD, text, wakers, foreign, (int(pid),))


def _find_eventfd_end(thread: ThreadFacts, look: Look, number: int) -> _End:
    """Their names are all equal: only their ids tell them apart."""
    holders = look.ends.list_eventfd_holders(f"/proc/{thread.pid}/task/{thread.tid}/fd/{number}")
    if not holders:
        return _End(WaitsFor.DESCRIPTOR, "an eventfd", outside="its holders are not known")
    wakers, foreign = look.threads_of(tuple(holders))
    kernel = (look.ends.find_kernel(holder) for holder in holders)
    outside = foreign or look.ends.find_unknown() or next(filter(None, kernel), "")
    text = f"an eventfd of {look.describe(holders)}"
    return _End(WaitsFor.DESCRIPTOR, text, wakers, outside, tuple(holders))


def _find_outside(target: str, facts: os.stat_result) -> _End:
    """Nothing that other threads of the graph alone could make ready."""
    what = printable(target)
    if stat.S_ISFIFO(facts.st_mode):
        return _End(WaitsFor.PIPE, what, outside=f"a process that opens {what}")
    if target.startswith("/dev/pts/") or target.startswith("/dev/tty") or target == "/dev/console":
        return _End(WaitsFor.DESCRIPTOR, f"the terminal {what}", outside="the terminal")
    return _End(WaitsFor.DESCRIPTOR, what, outside=what)


def _is_endless(thread: ThreadFacts) -> bool:
    if thread.call in ("poll", "epoll_wait", "epoll_pwait"):
        return thread.number(2 if thread.call == "poll" else 3) == _FOREVER
    at = {"ppoll": 2, "epoll_pwait2": 3}.get(thread.call, 4)
    return thread.argument(at) == 0


def _list_polled(thread: ThreadFacts, look: Look) -> list[int] | None:
    """Descriptors; None if they cannot be read."""
    if thread.call in ("poll", "ppoll"):
        return _list_of_poll(thread, look)
    if thread.call in ("select", "pselect6"):
        return _list_of_select(thread, look)
    return _list_of_epoll(thread)


def _list_of_poll(thread: ThreadFacts, look: Look) -> list[int] | None:
    count = thread.argument(1)
    if count > _POLLED_MAX:
        return None
    size = count * _POLL.size
    raw = look.read_memory(thread.pid, thread.argument(0), size) if size else b""
    if len(raw) < size:
        return None
    return [fd for fd, _, _ in _POLL.iter_unpack(raw) if fd >= 0]


def _list_of_select(thread: ThreadFacts, look: Look) -> list[int] | None:
    count = thread.number(0)
    if count > _POLLED_MAX:
        return None
    found: dict[int, None] = {}
    for at in (1, 2, 3):
        address = thread.argument(at)
        size = (count + 7) // 8
        raw = look.read_memory(thread.pid, address, size) if address else b"\0" * size
        if len(raw) < size:
            return None
        found |= dict.fromkeys(fd for fd in range(count) if raw[fd // 8] >> fd % 8 & 1)
    return list(found)


def _list_of_epoll(thread: ThreadFacts) -> list[int] | None:
    """From its fdinfo. A descriptor that was closed meanwhile may be another file now; those that
    share an inode look the same."""
    base = f"/proc/{thread.pid}/task/{thread.tid}"
    lines = read_file(f"{base}/fdinfo/{thread.number(0)}").splitlines()
    found = []
    for fields in _split(line for line in lines if line.startswith(b"tfd:")):
        try:
            number = int(fields["tfd"])
            facts = os.stat(f"{base}/fd/{number}")
            device = os.major(facts.st_dev) << 20 | os.minor(facts.st_dev)
            is_same = (facts.st_ino, device) == (int(fields["ino"], 16), int(fields["sdev"], 16))
            is_anonymous = os.readlink(f"{base}/fd/{number}").startswith("anon_inode:")
        except (KeyError, ValueError, OSError):
            return None
        if is_anonymous or not is_same:
            return None
        found.append(number)
    return found


def _split(lines: Iterable[bytes]) -> Iterator[dict[str, str]]:
    """ "tfd: 5 events: 19 data: 5 pos:0 ino:2a sdev:f"."""
    for line in lines:
        words = line.decode("ascii", "replace").replace(":", ": ").split()
        yield {name.rstrip(":"): value for name, value in pairwise(words) if name.endswith(":")}
