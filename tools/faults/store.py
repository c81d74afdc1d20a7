"""What can be wrong with store, run directory, limits and clocks, before the watch begins or during it.

Cases: FAULT/WHEN/COMMAND. The target crashes; then the fault is mended, and the next command must bring
the report into the store, once. A program that `run` could not watch counts as such if `run` says so.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from .cgroup import MemoryGroup, why_no_group
from .place import Place, await_pid
from .processes import await_end, await_quiet
from .row import Plan, Played, Row
from .scenarios import TARGET

_DISK_BYTES = 1 << 20
_INODES = 60
_TARGET_S = 30.0


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    apply: Callable[[Place, ExitStack], None]
    """Makes it so; what is put on the stack mends it."""
    moments: tuple[str, ...] = ("before", "during")
    commands: tuple[str, ...] = ("run", "monitor")
    needs_mount: bool = False


def _lock(place: Place, stack: ExitStack) -> None:
    lock = sqlite3.connect(place.store_path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    stack.callback(lock.close)
    stack.callback(lock.execute, "ROLLBACK")


def _fill_disk(place: Place, stack: ExitStack) -> None:
    filler = place.data_dir / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    for size in (4096, 1):
        with suppress(OSError):
            while os.write(fd, bytes(size)):
                pass
    os.close(fd)
    stack.callback(filler.unlink)


def _use_inodes(place: Place, stack: ExitStack) -> None:
    with suppress(OSError):
        for number in range(10 * _INODES):
            path = place.data_dir / f"filler-{number}"
            path.touch()
            stack.callback(path.unlink)


def _make_read_only(place: Place, stack: ExitStack) -> None:
    """Not while a monitor runs: the kernel refuses it as long as a file is open for writing."""
    argv = ["mount", "-o", "remount,ro", str(place.data_dir)]
    subprocess.run(argv, check=True)
    stack.callback(subprocess.run, [*argv[:2], "remount,rw", argv[3]], check=True)


def _make_noise(place: Place, stack: ExitStack) -> None:
    """Over the file itself, as a broken disk or another program would."""
    with open(place.store_path, "r+b") as file:
        file.write(os.urandom(max(4096, place.store_path.stat().st_size)))
    _remove_beside(place)
    stack.callback(_remove_store, place)


def _make_newer(place: Place, stack: ExitStack) -> None:
    database = sqlite3.connect(place.store_path)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.execute("PRAGMA user_version = 999")
    database.close()

    def mend() -> None:
        again = sqlite3.connect(place.store_path)
        again.execute(f"PRAGMA user_version = {version}")
        again.close()

    stack.callback(mend)


def _make_directory(place: Place, stack: ExitStack) -> None:
    _remove_store(place)
    place.store_path.mkdir()
    stack.callback(place.store_path.rmdir)


def _remove(place: Place, _stack: ExitStack) -> None:
    _remove_store(place)


def _remove_data_dir(place: Place, _stack: ExitStack) -> None:
    shutil.rmtree(place.data_dir)


def _move_data_dir(place: Place, stack: ExitStack) -> None:
    aside = place.base / "aside"
    place.data_dir.rename(aside)

    def mend() -> None:
        if not place.data_dir.exists():
            aside.rename(place.data_dir)

    stack.callback(mend)


def _remove_run_dir(place: Place, _stack: ExitStack) -> None:
    shutil.rmtree(place.run_dir)


def _forbid(path: str) -> Callable[[Place, ExitStack], None]:
    """A directory that cannot be made."""

    def apply(place: Place, stack: ExitStack) -> None:
        name = f"PERIMORTEM_{path}_DIR"
        former = place.environment[name]
        place.environment[name] = "/dev/null/nowhere"
        stack.callback(place.environment.update, {name: former})

    return apply


def _limit(which: int, limit: int) -> Callable[[Place, ExitStack], None]:
    def apply(place: Place, stack: ExitStack) -> None:
        former = place.before_start
        place.before_start = lambda: resource.setrlimit(which, (limit, limit))
        stack.callback(setattr, place, "before_start", former)

    return apply


def _limit_memory(place: Place, stack: ExitStack) -> None:
    group = MemoryGroup(64 << 20)
    stack.callback(group.remove)
    former = place.before_start
    place.before_start = group.enter
    stack.callback(setattr, place, "before_start", former)


def _shift_clock(place: Place, stack: ExitStack) -> None:
    """The watch runs in a time namespace; what it leaves is found outside of it."""
    former = place.prefix
    offsets = ("--monotonic", "100000", "--boottime", "100000")
    place.prefix = list(_unshare("--time", "--fork", *offsets))
    stack.callback(setattr, place, "prefix", former)


_SAID = {
    "runs unwatched": "not watched, and said so",
    "kept nowhere": "kept nowhere, and said so",
}
"""What `run` says where it can do no more; the program ran all the same."""
_ONLY_BEFORE, _ONLY_RUN = ("before",), ("run",)
FAULTS = {
    "locked": Fault(_lock),
    "full": Fault(_fill_disk, needs_mount=True),
    "no-inodes": Fault(_use_inodes, needs_mount=True),
    "read-only": Fault(_make_read_only, _ONLY_BEFORE, needs_mount=True),
    "noise": Fault(_make_noise),
    "newer": Fault(_make_newer),
    "directory": Fault(_make_directory),
    "removed": Fault(_remove),
    "data-dir-removed": Fault(_remove_data_dir),
    "data-dir-moved": Fault(_move_data_dir, moments=("during",)),
    "run-dir-removed": Fault(_remove_run_dir, moments=("during",)),
    "no-data-dir": Fault(_forbid("DATA"), _ONLY_BEFORE),
    "no-run-dir": Fault(_forbid("RUN"), _ONLY_BEFORE, _ONLY_RUN),
    **{
        f"descriptors-{limit}": Fault(
            _limit(resource.RLIMIT_NOFILE, limit), _ONLY_BEFORE, _ONLY_RUN
        )
        for limit in (8, 12, 16, 20, 24, 32, 40, 48, 64)
    },
    **{
        f"file-size-{limit}": Fault(_limit(resource.RLIMIT_FSIZE, limit), _ONLY_BEFORE, _ONLY_RUN)
        for limit in (4096, 65536, 1 << 20)
    },
    "memory-64M": Fault(_limit_memory, _ONLY_BEFORE),
    "clock": Fault(_shift_clock, _ONLY_BEFORE, _ONLY_RUN),
}


class Store(Row):
    name = "store"
    title = "store, run directory, limits, clocks"
    zeros = ("lost", "reported twice", "half files", "wrong verdict", "target harmed", "failed")

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Each once; in the short form any that the time allows."""
        cases = [
            f"{name}/{moment}/{command}"
            for name, fault in FAULTS.items()
            for moment in fault.moments
            for command in fault.commands
        ]
        if plan.is_short:
            random.Random(plan.seed).shuffle(cases)
        return iter(cases)

    def wrap(self, case: str) -> tuple[str, ...]:
        """Mounts are made in a namespace, and go with it."""
        if not FAULTS[case.partition("/")[0]].needs_mount:
            return ()
        return (*_unshare("--mount", "--propagation", "private"), "--") if _may_mount() else ()

    def play(self, case: str) -> Played:
        name, moment, command = case.split("/")
        fault = FAULTS[name]
        if fault.apply is _limit_memory and (why := why_no_group(MemoryGroup)):
            return Played(not_tried=why)
        if fault.needs_mount and not _may_mount():
            return Played(not_tried="needs root, or namespaces of ordinary users")
        if fault.apply is _shift_clock and not _works(_unshare("--time", "--fork")):
            return Played(not_tried="there are no time namespaces here")
        played = Played()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as mounts:
            place = Place(Path(folder))
            if fault.needs_mount and not _mount(place, mounts):
                return Played(not_tried="nothing may be mounted here")
            place.recover()  # a store that has worked before
            try:
                _play(place, fault, moment, command, played)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                played.fail("failed", f"{type(error).__name__}: {error}")
        return played


def _unshare(*options: str) -> tuple[str, ...]:
    own = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *own, *options)


def _works(argv: tuple[str, ...]) -> bool:
    return subprocess.run([*argv, "true"], capture_output=True, check=False).returncode == 0


def _may_mount() -> bool:
    """In a namespace, so that it goes with the case."""
    return _works(_unshare("--mount", "--propagation", "private"))


def _play(place: Place, fault: Fault, moment: str, command: str, played: Played) -> None:
    with ExitStack() as faults:
        if moment == "before":
            fault.apply(place, faults)
        begin = _begin_run if command == "run" else _begin_monitor
        target, pid, finish = begin(place)
        if moment == "during":
            fault.apply(place, faults)
        since = time.monotonic()
        assert target.stdin is not None
        target.stdin.write("\n")
        target.stdin.close()
        target.stdin = None
        said = finish(played)
        played.worst["longest end, s"] = round(time.monotonic() - since, 2)
    place.check_files(played)
    for line, figure in _SAID.items():
        if line in said:
            played.add(figure)
            return
    for _ in range(2):
        await_quiet(_TARGET_S)
        place.recover(command)
        await_quiet(_TARGET_S)
        place.check_files(played)
        place.check_reported(played, {pid: "crash"})


Finish = Callable[[Played], str]
"""Waits for the end of target and command; returns what the command said."""


def _begin_run(place: Place) -> tuple[subprocess.Popen[str], int, Finish]:
    pid_file = place.base / "pid"
    run = place.start(
        "run", "--", TARGET, pid_file, "crash", stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pid = await_pid(pid_file, run)
    if pid is None:
        raise RuntimeError(f"the target did not start: {run.communicate()[1][-500:]}")

    def finish(played: Played) -> str:
        _, said = run.communicate(timeout=60)
        await_end(pid, _TARGET_S)
        if run.returncode not in (128 + signal.SIGSEGV, -signal.SIGSEGV, -signal.SIGKILL):
            played.fail("target harmed", f"status {run.returncode}: {said[-300:]}")
        if "Traceback" in said:
            played.fail("failed", said[-1000:])
        return said

    return run, pid, finish


def _begin_monitor(place: Place) -> tuple[subprocess.Popen[str], int, Finish]:
    monitor = place.start_monitor()
    if monitor is None:
        raise RuntimeError("the monitor did not start")
    pid_file = place.base / "pid"
    target = subprocess.Popen(
        [str(TARGET), str(pid_file), "crash", "attach"], text=True, env=place.environment,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pid = await_pid(pid_file, target)
    if pid is None:
        raise RuntimeError("the target did not start")

    def finish(played: Played) -> str:
        if target.wait(_TARGET_S) != -signal.SIGSEGV:
            played.fail("target harmed", f"status {target.returncode}")
        said = place.end_monitor(monitor)
        if "Traceback" in said:
            played.fail("failed", said[-1000:])
        return said

    return target, pid, finish


def _mount(place: Place, stack: ExitStack) -> bool:
    """A small disk for the store, in our mount namespace."""
    place.data_dir.mkdir(mode=0o700)
    options = f"size={_DISK_BYTES},nr_inodes={_INODES},mode=700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place.data_dir)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        return False
    stack.callback(subprocess.run, ["umount", "-l", str(place.data_dir)], check=False)
    return True


def _remove_beside(place: Place) -> None:
    for ending in ("-wal", "-shm"):
        place.store_path.with_name(place.store_path.name + ending).unlink(missing_ok=True)


def _remove_store(place: Place) -> None:
    place.store_path.unlink(missing_ok=True)
    _remove_beside(place)
