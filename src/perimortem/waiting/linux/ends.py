"""Who holds the other end? The open descriptors of all processes that may be read.

A descriptor that is on its way through a socket, or is registered with a ring, is held by no process
that could be found (unix(7), SCM_RIGHTS; io_uring_register(2)): then the holders are not known.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, cached_property

assert sys.platform == "linux"

from perimortem.model.snapshot import Region
from perimortem.procfs.file import read_file, read_record
from perimortem.procfs.stat import read_stat
from perimortem.procfs.status import find_field, read_status
from perimortem.procfs.threads import list_threads
from perimortem.procfs.unix_peers import read_unix_peers

KCMP = {"x86_64": 312, "aarch64": 272}.get(os.uname().machine)
_KCMP_FILES = 2
_DESCRIPTORS_MAX = 200_000
_GENERATIONS_MAX = 64
_FIRST = frozenset({0, 1})
"""The kernel, and init, which shares nothing with what it starts but what it gives to it."""
_SIGNALLERS = ("[io_uring]", ":kvm", "/dev/vfio", "/dev/vhost", "/sys/fs/cgroup", "/proc/pressure")
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_CAP_SYS_PTRACE = 19


class Ends:
    """For one look."""

    def __init__(self, pids: Iterable[int]) -> None:
        """``pids``: read first, if there are very many descriptors."""
        self._by_target: dict[str, list[tuple[int, str]]] = defaultdict(list)
        """(pid, path in /proc) of each descriptor of a target."""
        self._unreadable: list[int] = []
        pids = list(pids)
        self._pids = frozenset(pids)
        started = [facts.start_time_ticks for pid in pids if (facts := read_stat(pid)) is not None]
        self._oldest_ticks = min(started, default=0)
        """Who is older than all of ``pids`` has inherited nothing from them."""
        self.is_complete = True
        """No process was left out because there are too many descriptors."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.list_holders = cache(self._list_holders)
        self.list_lockers = cache(self._list_lockers)
        self.list_mapping = cache(self._list_mapping)
        self.find_kernel = cache(self._find_kernel)
        count = 0
        for pid in dict.fromkeys((*pids, *_list_processes())):
            if count > _DESCRIPTORS_MAX:
                self.is_complete = False
                break
            for directory in self._list_tables(pid):
                count += self._read_table(pid, directory)

    def _list_holders(self, target: str, access: int = 0) -> list[int]:
        """The processes with a descriptor of ``target`` ("pipe:[7]"); ``access``: os.R_OK or os.W_OK."""
        found: dict[int, None] = {}
        for pid, path in self._by_target.get(target, ()):
            if not access or _may(path, access):
                found[pid] = None
        return list(found)

    def _list_lockers(self, device: int, inode: int) -> list[int]:
        """The processes with a descriptor that has this file locked by flock(2)."""
        held = self._regular.get((device, inode), ())
        return list(dict.fromkeys(pid for pid, path in held if _has_flock(path)))

    @cached_property
    def _regular(self) -> dict[tuple[int, int], list[tuple[int, str]]]:
        """Descriptors of files that have names, by device and inode: a file may have several names."""
        found: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
        for target, held in self._by_target.items():
            for pid, path in held if target.startswith("/") else ():
                with suppress(OSError):
                    facts = os.stat(path)
                    found[facts.st_dev, facts.st_ino].append((pid, path))
        return found

    def list_eventfd_holders(self, path: str) -> list[int]:
        """The processes that hold the eventfd that is open at ``path``; none if that is not known."""
        own = _read_eventfd_id(path)
        return list(self._eventfds.get(own, ())) if own is not None else []

    @cached_property
    def _eventfds(self) -> dict[str, dict[int, None]]:
        """Holders by id."""
        found: dict[str, dict[int, None]] = defaultdict(dict)
        for pid, path in self._by_target.get("anon_inode:[eventfd]", ()):
            number = _read_eventfd_id(path)
            if number is not None:
                found[number][pid] = None
        return found

    def find_unknown(self, *, by_name: bool = False) -> str:
        """Who else may hold what was not found; empty if no one can. ``by_name``: it has, or had, a name
        by which any process may have opened it."""
        if not self.is_complete:
            return "a process that was not read: there are too many descriptors"
        if self._in_flight:
            return self._in_flight
        if self._is_hidden:
            return "a process of another user, which /proc hides"
        if not self._sees_all:
            return "a process outside of this pid namespace"
        return self._named_stranger if by_name else self._stranger

    @cached_property
    def _named_stranger(self) -> str:
        for pid in self._unreadable:
            facts = read_stat(pid)
            if facts is not None and not facts.is_kernel_thread and pid not in _FIRST:
                return _describe_unreadable(pid)
        return ""

    @cached_property
    def _stranger(self) -> str:
        """Who may not be read, and may share descriptors with those that are looked at."""
        if self._unreadable and self._has_foreign_peer:
            return "a process at the other end of a socket, which may have been sent descriptors"
        for pid in self._unreadable:
            if self._may_share(pid):
                return _describe_unreadable(pid)
        return ""

    def _may_share(self, pid: int) -> bool:
        """By inheritance: it is an ancestor of theirs, or descends from them or from an ancestor.

        A process whose parent has ended goes to an ancestor of it (prctl(2), PR_SET_CHILD_SUBREAPER), at
        last to pid 1; what is older than all that are looked at has inherited nothing from them."""
        for step in range(_GENERATIONS_MAX):
            facts = read_stat(pid)
            if facts is None:
                return (
                    step > 0
                )  # it is gone; or its parent, and so what it descends from is not known
            if facts.is_kernel_thread or pid in _FIRST:
                return False
            if pid in self._ancestors or pid in self._pids:
                return True
            if facts.parent_pid in _FIRST:
                return facts.start_time_ticks >= self._oldest_ticks
            pid = facts.parent_pid
        return True

    @cached_property
    def _has_foreign_peer(self) -> bool:
        """One of them has a socket of AF_UNIX whose other end no one is known to hold."""
        for target, held in self._by_target.items():
            if not target.startswith("socket:") or self._pids.isdisjoint(pid for pid, _ in held):
                continue
            peers = self._unix_peers
            peer = peers.get(target.removeprefix("socket:[").removesuffix("]"))
            if not peers or (peer not in (None, "0") and f"socket:[{peer}]" not in self._by_target):
                return True
        return False

    @cached_property
    def _unix_peers(self) -> dict[str, str]:
        return read_unix_peers(next(iter(self._pids), 0))

    @cached_property
    def _ancestors(self) -> set[int]:
        """Of those that are looked at, but for the first process: these may have inherited from them."""
        found: set[int] = set()
        waiting = deque(self._pids)
        while waiting:
            facts = read_stat(waiting.popleft())
            if facts is None or facts.parent_pid in found or facts.parent_pid in _FIRST:
                continue
            if facts.parent_pid not in self._pids:  # else its own turn comes
                found.add(facts.parent_pid)
                waiting.append(facts.parent_pid)
        return found

    def _list_mapping(self, region: Region) -> list[int]:
        """The processes that have mapped the file of ``region``, shared, or hold it open."""
        found = [
            pid
            for pid, path in self._by_target.get(region.path, ())
            if _inode_of(path) == region.inode
        ]
        return list(dict.fromkeys((*found, *self._mapped.get(region.inode, ()))))

    @cached_property
    def _mapped(self) -> dict[int, dict[int, None]]:
        """The processes that have mapped a file, shared, by its inode."""
        found: dict[int, dict[int, None]] = defaultdict(dict)
        for pid in _list_processes():
            for line in read_file(f"/proc/{pid}/maps").splitlines():
                fields = line.split(None, 5)
                if len(fields) > 4 and fields[1][3:4] == b"s" and fields[4].isdigit():
                    found[int(fields[4])][pid] = None
        return found

    def _find_kernel(self, pid: int) -> str:
        """Whether the kernel may write to an eventfd of this process: for asynchronous I/O, a ring, a
        virtual machine, or the pressure of a control group."""
        held = {
            target for target, ends in self._by_target.items() if any(p == pid for p, _ in ends)
        }
        if any(word in target for target in held for word in _SIGNALLERS):
            return "the kernel, which may signal an eventfd"
        maps = read_file(f"/proc/{pid}/maps")
        return "asynchronous I/O (io_submit)" if b"/[aio]" in maps or not maps else ""

    @cached_property
    def _is_hidden(self) -> bool:
        return hides_processes()

    @cached_property
    def _sees_all(self) -> bool:
        return is_first_pid_namespace()

    @cached_property
    def _in_flight(self) -> str:
        if not _shows_descriptors_in_flight():
            return "a descriptor on its way through a socket, which this kernel does not show"
        for target, held in self._by_target.items():
            if target.startswith("socket:"):
                word, what = b"scm_fds:", "a socket with descriptors on their way"
            elif target == "anon_inode:[io_uring]":
                word, what = b"UserFiles:", "a ring with registered descriptors"
            else:
                continue
            for pid, path in held:
                if _has_count(read_record(path.replace("/fd/", "/fdinfo/")), word):
                    return f"{what} (process {pid})"
        return ""

    def _list_tables(self, pid: int) -> Iterator[str]:
        yield f"/proc/{pid}/fd"
        for tid in list_threads(pid) if KCMP is not None else ():
            if tid != pid and self._libc.syscall(KCMP, pid, tid, _KCMP_FILES, 0, 0) != 0:
                yield f"/proc/{pid}/task/{tid}/fd"

    def _read_table(self, pid: int, directory: str) -> int:
        try:
            numbers = os.listdir(directory)
        except PermissionError:
            self._unreadable.append(pid)
            return 1
        except OSError:
            return 0
        for number in numbers:
            path = f"{directory}/{number}"
            try:
                self._by_target[os.readlink(path)].append((pid, path))
            except PermissionError:
                self._unreadable.append(pid)
                break
            except OSError:
                continue
        return len(numbers) + 1


def _describe_unreadable(pid: int) -> str:
    return f"process {pid}, whose descriptors may not be read"


def _read_eventfd_id(path: str) -> str | None:
    return find_field(read_record(path.replace("/fd/", "/fdinfo/")), "eventfd-id")


def _inode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _has_flock(path: str) -> bool:
    lines = read_record(path.replace("/fd/", "/fdinfo/")).splitlines()
    return any(
        line.startswith(b"lock:") and b" FLOCK " in line and b"->" not in line for line in lines
    )


def is_first_pid_namespace() -> bool:
    """Else there are processes that this one's /proc does not list."""
    return os.readlink("/proc/self/ns/pid") == _FIRST_PID_NAMESPACE


def hides_processes() -> bool:
    """/proc is mounted so that this user sees its own processes only (hidepid, proc(5))."""
    status = read_status("self")
    if status is not None and status.effective_capabilities >> _CAP_SYS_PTRACE & 1:
        return False
    hides = False
    for line in read_file("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[4] == b"/proc":
            hides = b"hidepid=" in fields[-1] and b"hidepid=0" not in fields[-1]
    return hides


def _shows_descriptors_in_flight() -> bool:
    """Older kernels do not."""
    own, other = socket.socketpair()
    with own, other:
        return b"scm_fds:" in read_record(f"/proc/self/fdinfo/{own.fileno()}")


def _may(path: str, access: int) -> bool:
    """The link has the permissions of its descriptor (proc_pid_fd(5))."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return True  # closed meanwhile: not known
    return bool(mode & (stat.S_IRUSR if access == os.R_OK else stat.S_IWUSR))


def _has_count(fdinfo: bytes, word: bytes) -> bool:
    for line in fdinfo.splitlines():
        if line.startswith(word):
            value = line[len(word) :].strip()
            return value.isdigit() and int(value) > 0
    return False


def _list_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
