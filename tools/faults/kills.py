"""SIGKILL of monitor, writer, dump worker and examiner: at each system call that changes something, and
at random moments.

Cases: SCENARIO/VICTIM/CALL:N (N: the number among the calls of that name), SCENARIO/VICTIM/moments:SEED.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import json
import os
import random
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .place import Place
from .processes import (
    await_quiet,
    await_true,
    describe_stop,
    list_children,
    list_descendants,
    read_arguments,
)
from .row import Plan, Played, Row
from .scenarios import SCENARIOS, Scene
from .strace import attach, find_strace, list_calls, trace_options

_HELPERS = {
    "writer": "perimortem: writer",
    "worker": "dumping/worker.py",
    "examiner": "examine/worker.py",
}
_QUIET_S = 30.0
_MOMENTS = 8
"""Kills in one case: one store goes through all of them."""


class Kills(Row):
    name = "kills"
    title = "SIGKILL of monitor, writer, worker and examiner"
    zeros = (
        "lost",
        "reported twice",
        "left stopped or traced",
        "half files",
        "wrong verdict",
        "failed",
    )

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Alternately a system call and a batch of random moments; endless."""
        chance = random.Random(plan.seed)
        pairs = [(s.name, v) for s in SCENARIOS.values() for v in s.victims]
        pairs = [pair for pair in pairs if plan.admits("/".join(pair) + "/")]
        moments = _list_moments(pairs, chance)
        calls = _list_calls(pairs, chance)
        while pairs:
            yield next(moments)
            for _ in range(_MOMENTS):
                case = next(calls, None)
                if case is not None:
                    yield case

    def play(self, case: str) -> Played:
        scenario, victim, point = case.split("/")
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            place = Place(Path(folder))
            played = Played()
            if point.startswith("moments:"):
                _play_moments(place, scenario, victim, int(point.partition(":")[2]), played)
            else:
                call, _, number = point.partition(":")
                _play_call(place, scenario, victim, (call, int(number)), played)
            return played


def _list_moments(pairs: list[tuple[str, str]], chance: random.Random) -> Iterator[str]:
    while True:
        for name, victim in chance.sample(pairs, len(pairs)):
            yield f"{name}/{victim}/moments:{chance.randrange(1 << 31)}"


def _list_calls(pairs: list[tuple[str, str]], chance: random.Random) -> Iterator[str]:
    """Those of each scenario as they are found by a trace of it."""
    waiting: list[str] = []
    for name, victim in chance.sample(pairs, len(pairs)):
        why = _why_not(victim)
        found = [("exit_group", 1)] if why else _trace(name, victim)
        waiting += [f"{name}/{victim}/{call}:{number}" for call, number in found]
        chance.shuffle(waiting)
        for _ in range(len(waiting) // 3):
            yield waiting.pop()
    yield from waiting


def _why_not(victim: str) -> str | None:
    """Why its system calls cannot be counted here."""
    if find_strace() is None:
        return "strace is not installed"
    if victim != "monitor" and os.geteuid() != 0:
        return "only root may attach strace to a helper, which is not dumpable"
    return None


class _Victim:
    """Starts the monitor of a scenario, and finds the process that is to be killed."""

    def __init__(self, place: Place, kind: str, before: list[str]) -> None:
        self._place = place
        self._kind = kind
        self._before = before
        self._started: subprocess.Popen[str] | None = None

    def launch(self, *arguments: object, **options: object) -> subprocess.Popen[str]:
        self._started = self._place.start(*arguments, before=self._before, **options)
        return self._started

    def find_monitor(self) -> int | None:
        if self._started is None or self._started.poll() is not None:
            return None
        if not self._before:
            return self._started.pid
        return next(iter(list_children(self._started.pid)), None)

    def find(self) -> int | None:
        monitor = self.find_monitor()
        if self._kind == "monitor" or monitor is None:
            return monitor
        return self._find_helper(monitor)

    def _find_helper(self, monitor: int) -> int | None:
        ending = _HELPERS[self._kind]
        for pid in list_children(monitor):
            if any(argument.strip().endswith(ending) for argument in read_arguments(pid)):
                return pid
        return None


def _trace(name: str, victim: str) -> list[tuple[str, int]]:
    """The calls of an undisturbed play."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Place(Path(folder))
        _play_traced(place, name, victim, None, Played())
        trace = place.base / "trace"
        return list_calls(trace) if trace.exists() else []


def _play_call(
    place: Place, name: str, victim: str, point: tuple[str, int], played: Played
) -> None:
    played.not_tried = _why_not(victim) or ""
    if played.not_tried:
        return
    scene = _play_traced(place, name, victim, point, played)
    trace = place.base / "trace"
    was_killed = trace.exists() and "killed by SIGKILL" in trace.read_text(errors="replace")
    played.add("kills at a system call" if was_killed else "system call not reached")
    _check(place, name, scene, played)


def _play_traced(
    place: Place, name: str, kind: str, point: tuple[str, int] | None, played: Played
) -> Scene:
    options = trace_options(place.base / "trace", point)
    before = ["strace", *options, "--"] if kind == "monitor" else []
    victim = _Victim(place, kind, before)
    tracers: list[subprocess.Popen[str]] = []
    threads: list[threading.Thread] = []

    def attach_later() -> None:
        """The examiner starts when there is something to examine."""
        if await_true(lambda: victim.find() or victim.find_monitor() is None, 20):
            pid = victim.find()
            if pid is not None:
                tracers.append(attach(pid, options))

    def ready() -> None:
        if kind in ("worker", "writer"):  # it waits
            attach_later()
        elif kind == "examiner":
            threads.append(threading.Thread(target=attach_later))
            threads[-1].start()

    scene = Scene(place, victim.launch, victim.find_monitor, ready)
    SCENARIOS[name].play(scene, played)
    for thread in threads:
        thread.join()
    for tracer in tracers:
        tracer.communicate()
    return scene


def _play_moments(place: Place, name: str, kind: str, seed: int, played: Played) -> None:
    chance = random.Random(seed)
    targets: dict[int, str | None] = {}
    for _ in range(1 if name == "vacuum" else _MOMENTS):
        delay_s = chance.uniform(0, SCENARIOS[name].latest_s)
        scene = _play_moment(place, name, kind, delay_s, targets, played)
    _check(place, name, scene, played)


def _play_moment(
    place: Place,
    name: str,
    kind: str,
    delay_s: float,
    targets: dict[int, str | None],
    played: Played,
) -> Scene:
    victim = _Victim(place, kind, [])

    def strike() -> None:
        pid = victim.find()
        if pid is None:
            played.add("no victim at the moment")
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            played.add("kills at a random moment")

    timer = threading.Timer(delay_s, strike)
    scene = Scene(place, victim.launch, victim.find_monitor, timer.start, targets)
    SCENARIOS[name].play(scene, played)
    timer.cancel()
    if timer.ident is not None:
        timer.join()
    return scene


def _check(place: Place, name: str, scene: Scene, played: Played) -> None:
    for pid in list_descendants(os.getpid()):
        stop = describe_stop(pid)
        if stop is not None:
            played.fail("left stopped or traced", f"{' '.join(read_arguments(pid))[-60:]}: {stop}")
    _settle(place, played)
    place.recover(SCENARIOS[name].recovers_by)
    _settle(place, played)
    place.check_reported(played, scene.targets)
    if name == "vacuum":
        _check_dumps(place, played)


def _settle(place: Place, played: Played) -> None:
    """A writer goes on without its monitor until it has written what it was given."""
    if not await_quiet(_QUIET_S):
        left = " ".join(read_arguments(list_descendants(os.getpid())[0]))
        played.fail("failed", f"it does not end: {left[-200:]}")
    place.check_files(played)


def _check_dumps(place: Place, played: Played) -> None:
    """A known fault: counted, but not among what must be 0."""
    for row in place.list_incidents():
        if row["has_dump"]:
            shown = json.loads(place.call("show", row["number"], "--json").stdout)
            for dump in shown["dumps"]:
                if dump["path"] and not Path(dump["path"]).exists():
                    played.add("dumps listed after their removal")
