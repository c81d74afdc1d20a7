"""What goes on when the kill comes: a victim at work, and a target that ends."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perimortem.agent.library import find_preload_library

from .place import PROGRAMS, Place, await_pid, end_monitor
from .processes import await_end, describe_stop, kill
from .row import Played

TARGET = PROGRAMS / "ends_on_request"
_TARGET_S = 30.0
"""A crashed process waits 10 s at most for its dump."""

Launch = Callable[..., "subprocess.Popen[str]"]
"""launch(*arguments, **options): starts the victim, as ``Place.start`` does"""
Ready = Callable[[], None]
"""Called when the target waits for its end: from now on the victim has work to do."""


@dataclass
class Scene:
    """One play of a scenario."""

    place: Place
    launch: Launch
    """Of the victim."""
    find_victim: Callable[[], int | None]
    """Its pid, once it was launched; None if it is gone."""
    ready: Ready
    targets: dict[int, str | None] = field(default_factory=dict)
    """What must be in the store exactly once, and with which verdict."""


@dataclass(frozen=True)
class Scenario:
    """One kind of work of one command."""

    name: str
    play: Callable[[Scene, Played], None]
    latest_s: float
    """Random kills come within this time after ``ready``: the victim is at work for about as long."""
    recovers_by: str = "run"
    """The command that reports what the victim left."""
    victims: tuple[str, ...] = ("monitor",)


def _play_run(how: str, verdict: str) -> Callable[[Scene, Played], None]:
    def play(scene: Scene, played: Played) -> None:
        pid_file = scene.place.base / f"pid-{len(scene.targets)}"
        pid_file.unlink(missing_ok=True)
        process = scene.launch(
            "run", "-q", "--", TARGET, pid_file, how, stdin=subprocess.PIPE
        )  # fmt: skip
        pid = await_pid(pid_file, process)
        if pid is None:
            process.communicate()
            played.add("killed before the target ran")
            return
        scene.targets[pid] = verdict
        _let_end(scene, process)
        _await(process, played)
        _check_target(pid, played)

    return play


def _play_monitor(how: str, verdict: str) -> Callable[[Scene, Played], None]:
    def play(scene: Scene, played: Played) -> None:
        monitor = scene.launch("monitor", stderr=subprocess.PIPE)
        assert monitor.stderr is not None
        is_serving = any("serving" in line for line in monitor.stderr)
        pid_file = scene.place.base / f"pid-{len(scene.targets)}"
        pid_file.unlink(missing_ok=True)
        target = _start_target(scene, pid_file, how, "attach")
        pid = await_pid(pid_file, target)
        assert pid is not None, "the target did not start"
        if is_serving:
            scene.targets[pid] = verdict
        else:
            played.add("killed before the target ran")
        _let_end(scene, target)
        _check_target(pid, played, target)
        victim = scene.find_victim()
        if victim is not None:
            end_monitor(monitor, victim)
        _await(monitor, played)

    return play


def _play_watch(scene: Scene, played: Played) -> None:
    pid_file = scene.place.base / f"pid-{len(scene.targets)}"
    pid_file.unlink(missing_ok=True)
    target = _start_target(scene, pid_file, "exit", LD_PRELOAD=str(find_preload_library()))
    pid = await_pid(pid_file, target)
    assert pid is not None, "the target did not start"
    watch = scene.launch("watch", pid, stderr=subprocess.PIPE)
    scene.targets[pid] = None
    _await_attached(scene, watch)
    _let_end(scene, target)
    _check_target(pid, played, target)
    _await(watch, played)


def _play_recover(scene: Scene, played: Played) -> None:
    """Another monitor died while it watched; the victim finds what is left."""
    pid_file = scene.place.base / f"pid-{len(scene.targets)}"
    pid_file.unlink(missing_ok=True)
    first = scene.place.start("run", "-q", "--", TARGET, pid_file, "crash", stdin=subprocess.PIPE)
    pid = await_pid(pid_file, first)
    assert pid is not None, "the target did not start"
    first.kill()
    first.communicate("\n")
    _check_target(pid, played)
    scene.targets[pid] = "crash"
    process = scene.launch("run", "-q", "--", "true")
    scene.ready()
    _await(process, played)


def _play_vacuum(scene: Scene, played: Played) -> None:
    """Dumps are removed; their incidents stay, and say so."""
    for _ in range(3):
        pid_file = scene.place.base / f"pid-{len(scene.targets)}"
        argv = ("run", "-q", "--no-stacks", "--", TARGET, pid_file, "crash")
        if scene.place.call(*argv, stdin=subprocess.DEVNULL).returncode != 139:
            raise RuntimeError("a plain run failed")
        scene.targets[int(pid_file.read_text())] = "crash"
    process = scene.launch("vacuum", "--max-use", "1")
    scene.ready()
    _await(process, played)


_TWO = ("monitor", "writer")
_ALL = (*_TWO, "worker", "examiner")
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("run-crash", _play_run("crash", "crash"), 0.6, victims=_ALL),
        Scenario("run-hang", _play_run("hang", "crash"), 1.4, victims=_ALL),
        Scenario("run-exit", _play_run("exit", "silent-crash"), 0.1, victims=_TWO),
        Scenario("monitor-crash", _play_monitor("crash", "crash"), 0.6, "monitor", _ALL),
        Scenario("watch-exit", _play_watch, 0.1, "monitor", _TWO),
        Scenario("recover", _play_recover, 0.4, victims=_TWO),
        Scenario("vacuum", _play_vacuum, 0.25),
    )
}


def _start_target(
    scene: Scene, pid_file: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(TARGET), str(pid_file), *arguments], text=True,
        env={**scene.place.environment, **environment}, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _let_end(scene: Scene, target: subprocess.Popen[str]) -> None:
    scene.ready()
    assert target.stdin is not None
    try:
        target.stdin.write("\n")
        target.stdin.close()
    except BrokenPipeError:
        return


def _await_attached(scene: Scene, watch: subprocess.Popen[str]) -> None:
    """Until it says so, or is gone."""
    assert watch.stderr is not None
    for line in watch.stderr:
        if "watching" in line:
            return


def _await(process: subprocess.Popen[str], played: Played) -> None:
    process.stdin = None
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        played.fail("failed", f"{process.args!s:.200} did not end")
        kill(process.pid)
        process.wait()


def _check_target(pid: int, played: Played, own: subprocess.Popen[str] | None = None) -> None:
    """It ends without help; no death of a helper keeps it."""
    if own is not None:
        try:
            own.wait(timeout=_TARGET_S)
        except subprocess.TimeoutExpired:
            played.fail("left stopped or traced", f"target {pid}: {describe_stop(pid) or 'waits'}")
    elif await_end(pid, _TARGET_S) is None:
        played.fail("left stopped or traced", f"target {pid}: {describe_stop(pid) or 'waits'}")
