"""Report crashes that happened while no monitor was running; each once.

A monitor may be killed in the middle of a crash. The note remains in the recorder, and a finished dump
under its final name; the next monitor makes an incident of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from perimortem.clock import SystemClock
from perimortem.errors import MalformedInput
from perimortem.exits.sources import open_gone_watch
from perimortem.hangs.target import TargetWatch
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import FactCode, observed
from perimortem.model.incident import Host, Incident
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Recording
from perimortem.model.system_log import SystemLogFindings
from perimortem.monitor.conclude import Collected, WallClock, derive_incident
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.proc import collect_process_info, read_stat
from perimortem.recorder import RecorderFile
from perimortem.recorder.sweep import read_name
from perimortem.text import printable

_AT_ONCE_MAX = 1000


def list_recorders(run_dir: Path) -> list[ProcessRef]:
    """Every process that left a recorder, or has one."""
    try:
        names = os.listdir(run_dir)
    except OSError:
        return []
    found = [read_name(name) for name in names if name.endswith(".rec") and name[0] != "."]
    return [ProcessRef(*identity) for identity in found if identity is not None]


def is_alive(process: ProcessRef) -> bool:
    facts = read_stat(process.pid)
    return (
        facts is not None
        and not facts.is_dead
        and facts.start_time_ticks == process.start_time_ticks
    )


def read_monitor_pid(run_dir: Path, process: ProcessRef) -> int | None:
    """The pid of its monitor, from its recorder; 0: it has none, None: unreadable."""
    link = RecorderLink(run_dir, process)
    try:
        recorder = RecorderFile(link.path, process)
    except (OSError, MalformedInput):
        return None
    recorder.close()
    return recorder.monitor_pid


def report_unreported(
    settings: Settings, store: DatabaseStore, host: Host, *, reports_own: bool = False
) -> list[Incident]:
    """Make incidents of unreported crashes, and remove their recorders.

    ``reports_own``: also for programs that had no monitor, which are the responsibility
    of `perimortem monitor`."""
    reported: list[Incident] = []
    for process in list_recorders(settings.run_dir):
        if len(reported) >= _AT_ONCE_MAX:
            break
        monitor_pid = read_monitor_pid(settings.run_dir, process)
        if monitor_pid is None or is_alive(process) or (monitor_pid == 0 and not reports_own):
            continue
        if monitor_pid not in (0, os.getpid()) and read_stat(monitor_pid) is not None:
            continue  # it is about to report it itself
        incident = _report(process, monitor_pid, settings, store, host)
        if incident is not None:
            reported.append(incident)
    return reported


def _report(
    process: ProcessRef, monitor_pid: int, settings: Settings, store: DatabaseStore, host: Host
) -> Incident | None:
    """Two monitors may do so at once, and one may be killed: by its uid the store has it once."""
    clock = SystemClock()
    link = RecorderLink(settings.run_dir, process)
    recording = link.read_recording(clock.monotonic_ns())
    if recording is None or not _is_significant(recording):
        link.close()
        return None
    target = _restore_target(process, link, recording, monitor_pid, settings)
    try:
        wall = WallClock.read(clock)
        collected = Collected(recording, SystemLogFindings(), host, wall, os.getpid())
        kept = store.record(target, derive_incident(target, collected))
        if target.is_kept:  # else it is left for the next monitor
            with suppress(OSError):
                link.path.unlink()
        return kept
    finally:
        target.close()


def _is_significant(recording: Recording) -> bool:
    note = recording.exit_note
    is_crash = recording.crash is not None and recording.crash.is_fatal
    return is_crash or (note is not None and not note.is_wanted)


def _restore_target(
    process: ProcessRef,
    link: RecorderLink,
    recording: Recording,
    monitor_pid: int,
    settings: Settings,
) -> Target:
    """As if it had been watched: its end is taken from the last thing that it recorded."""
    note = recording.exit_note
    end = Exit(ExitKind.UNKNOWN, ExitSource.NONE)
    if recording.crash is not None and recording.crash.is_fatal:
        ended_ns = recording.crash.monotonic_ns
    else:
        assert note is not None
        ended_ns = note.monotonic_ns
        if note.status is not None:
            end = Exit(ExitKind.EXITED, ExitSource.GOODBYE, code=note.status & 0xFF)
    name = link.name or str(process.pid)
    target = Target(
        replace(collect_process_info(process), name=printable(name)),
        open_gone_watch(process),
        link,
        TargetWatch(settings.policy, ended_ns),
        recording.created_at_ns,
        facts=[observed(FactCode.NO_MONITOR, "recorder")],
        dumps=_find_dumps(settings.dumps_dir, process.pid, recording),
        owner_pid=monitor_pid,
    )
    target.note_ended(ended_ns)
    target.note_exit(end)
    return target


def _find_dumps(dumps_dir: Path, pid: int, recording: Recording) -> list[DumpResult]:
    """Finished by a worker whose monitor ended before recording it."""
    found = []
    for path in sorted(dumps_dir.glob(f"*-{pid}.*")):
        try:
            facts = path.stat()
            if facts.st_mtime_ns < recording.created_at_ns:
                continue  # belongs to another process with that pid
            found.append(_describe_dump(path, facts.st_size))
        except (OSError, MalformedInput):
            continue
    return found


def _describe_dump(path: Path, size: int) -> DumpResult:
    with open(path, "rb") as file:

        def read(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        dump = MinidumpFile(read, size)
        entry = dump.find(StreamType.ThreadListStream)
        threads = len(dump.read_threads(entry)) if entry else 0
        return DumpResult(
            path=str(path),
            types=MinidumpType(dump.header.flags),
            size_bytes=size,
            target_paused_ms=0.0,
            thread_count=threads,
            soft_errors=("taken by a monitor that ended before it could record it",),
        )
