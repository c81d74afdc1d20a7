"""The monitor's CPU with thousands of targets whose recorders are written by a simulator.

Real: the recorder files, the stores into them, the pidfds, and the whole monitor. Simulated: that each
file belongs to a separate process.
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.common import PROGRAMS, own_directories
from perimortem.exits.linux.pidfd import ChildExitWatch
from perimortem.hangs.target import TargetWatch
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.system_log import SystemLogFindings
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import open_base
from perimortem.monitor.engine import Engine
from perimortem.monitor.family import Alone
from perimortem.monitor.heartbeat_check import HeartbeatCheck
from perimortem.monitor.incident_store import NoStore
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.proc import collect_host, find_process
from perimortem.recorder import layout

_SECONDS = 15.0
_SLOTS = 1


def measure() -> Iterator[str]:
    for count in (1000, 10_000):
        for hz in (1, 100):
            with own_directories() as folder:
                share, samples = _measure_once(folder, count, hz)
            yield (
                f"{count:,} targets beating at {hz} Hz: {share:.2f} % of one core, "
                f"{samples:.0f} samples a second"
            )


def _measure_once(folder: Path, count: int, hz: int) -> tuple[float, float]:
    """In a separate process: its CPU time is the monitor's alone."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.many_targets", str(folder), str(count), str(hz)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    share, samples = result.stdout.split()
    return float(share), float(samples)


class _NoLog:
    """A system log that says nothing."""

    def __call__(self, pid: int, tids: set[int]) -> SystemLogFindings:
        return SystemLogFindings()

    def begin_trace(self) -> None:
        return

    def close(self) -> None:
        return


class _Silent:
    status_interval_ns: int | None = None

    def __getattr__(self, name: str) -> object:
        return lambda *_arguments: None


def _watch(folder: Path, count: int, hz: int) -> None:
    run_dir = folder / "run"
    run_dir.mkdir(mode=0o700)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * count)), hard))
    refs = [ProcessRef(1_000_000 + i, 7) for i in range(count)]
    settings = Settings(run_dir=run_dir, data_dir=folder, dump=None, collect_stacks=False)
    stack = ExitStack()
    base = open_base(stack)
    engine = build_monitor(
        base, settings, collect_host(), _NoLog(), open_recorder_events(run_dir), stack,
        store=NoStore(), listener=_Silent(), reporter=_Silent(), family=Alone(),
    ).engine  # fmt: skip
    samples = _count_samples()
    links = [RecorderLink(run_dir, ref) for ref in refs]
    for ref, link in zip(refs, links, strict=True):
        link.path.write_bytes(_make_recorder(ref))
    writer = subprocess.Popen(
        [PROGRAMS / "beat_many", str(hz)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("".join(f"{link.path}\n" for link in links))
    writer.stdin.close()
    writer.stdout.readline()
    held = find_process(writer.pid)
    start_spread_s = settings.policy.threshold_ns / 1e9
    for i, (ref, link) in enumerate(zip(refs, links, strict=True)):
        process = ProcessInfo(ref, f"target-{i}", None, (), 0)
        watch = TargetWatch(settings.policy, base.clock.monotonic_ns())
        base.targets.add(Target(process, ChildExitWatch(held), link, watch, 0))
    _run_until(engine, time.monotonic() + start_spread_s)
    samples.clear()
    cpu_before, wall_before = _cpu_s(), time.monotonic()
    _run_until(engine, wall_before + _SECONDS)
    wall_s = time.monotonic() - wall_before
    print(f"{100 * (_cpu_s() - cpu_before) / wall_s:.3f} {len(samples) / wall_s:.1f}")
    sys.stdout.flush()
    writer.kill()
    os._exit(0)


def _count_samples() -> list[int]:
    """A list with one entry per sample of a target; the check itself is unchanged."""
    times: list[int] = []
    check = HeartbeatCheck.check

    def counted(self: HeartbeatCheck, target: Target, now_ns: int) -> object:
        times.append(now_ns)
        return check(self, target, now_ns)

    HeartbeatCheck.check = counted  # type: ignore[method-assign, assignment]
    return times


def _run_until(engine: Engine, deadline_s: float) -> None:
    while time.monotonic() < deadline_s:
        engine.run_once()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _make_recorder(ref: ProcessRef) -> bytes:
    """An agent's recorder: two active heartbeats with the default threshold."""
    data = bytearray(layout.file_size(_SLOTS))
    header = layout.Header(
        magic=layout.MAGIC, version=layout.VERSION, header_size=layout.Header.size(),
        file_size=len(data), pid=ref.pid, flags=1, start_time_ticks=ref.start_time_ticks,
        boot_id=bytes(16), created_monotonic_ns=0, created_realtime_ns=0,
        ring_offset=layout.RING_OFFSET, slot_size=layout.EVENT_SLOT_SIZE, slot_count=_SLOTS,
        crash_area_offset=layout.CRASH_AREA_OFFSET, crash_area_size=layout.CRASH_AREA_SIZE,
        crash_area_version=1, exit_note_offset=layout.EXIT_NOTE_OFFSET, heartbeat_max=64,
        parent_pid=0, monitor_pid=0, spare=0, crc32=0,
    ).to_bytes()  # fmt: skip
    data[: len(header)] = header
    checked = len(header) - 4
    struct.pack_into("<I", data, checked, zlib.crc32(header[:checked]))
    struct.pack_into("<2Q", data, layout.LIVE_WORDS_OFFSET, 1, 2)
    struct.pack_into("<2Q", data, layout.LIMITS_OFFSET, 1 << 32, 1 << 32)
    data[layout.NAMES_OFFSET : layout.NAMES_OFFSET + 4] = b"main"
    second = layout.NAMES_OFFSET + layout.HEARTBEAT_NAME_SIZE
    data[second : second + 7] = b"process"
    return bytes(data)


if __name__ == "__main__":
    _watch(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
