"""Report ends that happened while no monitor was running; each once.

A monitor may be killed in the middle of a crash. The note remains in the recorder, and a finished dump
under its final name; the next monitor makes an incident of them. A program that was watched and is gone
without any note is reported, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from perimortem.clock import SystemClock
from perimortem.documents.base import encode
from perimortem.documents.report import Report
from perimortem.errors import MalformedInput
from perimortem.exits.sources import find_past_kill, open_gone_watch
from perimortem.hangs.target import TargetWatch
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import FactCode, observed
from perimortem.model.incident import Host
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Recording
from perimortem.model.system_log import SystemLogFindings
from perimortem.monitor.conclude import Collected, WallClock, derive_incident
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.recorder_list import is_alive, list_recorders, read_monitor_pid
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.proc import collect_host, identify_process, read_stat
from perimortem.recorder import recorder_path
from perimortem.recorder.sweep import KEEP_UNREPORTED_S
from perimortem.report.document import render_document
from perimortem.store.keeper import Keeper
from perimortem.store.requests import Unreported
from perimortem.store.stored_report import prepare_report
from perimortem.text import printable

_AT_ONCE_MAX = 1000


def report_unreported(
    settings: Settings, keeper: Keeper, monitor: ProcessRef, *, reports_own: bool
) -> Iterator[Unreported | None]:
    """Make incidents of unreported ends, and remove their recorders; None between any two steps.

    ``monitor``: the one that this is for, whose own programs are left to it; ``reports_own``: also for
    programs that had no monitor. They are left to `perimortem monitor` for a day."""
    host = collect_host()
    count = 0
    # What ends from now on is reported by the monitor that this is for.
    ended = [p for p in list_recorders(settings.run_dir) if not is_alive(p)]
    for process in ended:
        yield None
        if count >= _AT_ONCE_MAX:
            return
        owner_pid = read_monitor_pid(settings.run_dir, process)
        if owner_pid is None:
            continue
        if _has_monitor(process, owner_pid, monitor):
            continue  # it is about to report it itself
        if owner_pid == 0 and not reports_own and not _is_old(settings.run_dir, process):
            continue
        report = _report(process, owner_pid, settings, keeper, host, monitor.pid)
        if report is not None:
            count += 1
            yield Unreported(encode(report))


def _has_monitor(process: ProcessRef, owner_pid: int, monitor: ProcessRef) -> bool:
    """In a container every monitor has the same pid: what started before ours was an earlier one's."""
    if owner_pid == monitor.pid:
        return process.start_time_ticks >= monitor.start_time_ticks
    return owner_pid != 0 and read_stat(owner_pid) is not None


def _is_old(run_dir: Path, process: ProcessRef) -> bool:
    try:
        modified_s = recorder_path(run_dir, process).lstat().st_mtime
    except OSError:
        return False
    return time.time() - modified_s > KEEP_UNREPORTED_S


def _report(
    process: ProcessRef,
    owner_pid: int,
    settings: Settings,
    keeper: Keeper,
    host: Host,
    monitor_pid: int,
) -> Report | None:
    """Two monitors may do so at once, and one may be killed: by its uid the store has it once."""
    clock = SystemClock()
    link = RecorderLink(settings.run_dir, process)
    now_ns = clock.monotonic_ns()
    recording = link.read_recording(now_ns)
    booted_ns = clock.realtime_ns() - clock.boottime_ns()
    if recording is None or not _needs_report(recording, owner_pid, booted_ns):
        link.close()
        return None
    target = _restore_target(process, link, recording, owner_pid, settings)
    try:
        wall = WallClock.read(clock)
        findings = _find_kill(process, link, recording)
        collected = Collected(recording, findings, host, wall, monitor_pid)
        incident = derive_incident(target, collected)
        report = render_document(incident, redact=settings.redact)
        kept = keeper.keep_unfinished(prepare_report(report))
        if not kept.is_kept:
            return None  # its recorder is left for the next monitor
        with suppress(OSError):
            link.path.unlink()
        return msgspec.structs.replace(report, id=kept.number)
    finally:
        target.close()


def _needs_report(recording: Recording, owner_pid: int, booted_ns: int) -> bool:
    """It crashed, or exited as it should not have, or was watched and ended without a word."""
    if recording.has_bad_end:
        return True
    # Of forked children there may be thousands; and the end of the system ends everything.
    is_watched = owner_pid != 0 and not recording.is_forked
    return recording.is_silent and is_watched and recording.created_at_ns > booted_ns


def _find_kill(process: ProcessRef, link: RecorderLink, recording: Recording) -> SystemLogFindings:
    """With memory.oom.group the monitor is killed together with what it watches."""
    if not recording.is_silent or not link.name:
        return SystemLogFindings()
    return find_past_kill(process, link.name)


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
    soft_errors = []
    if recording.crash is not None and recording.crash.is_fatal:
        ended_ns = recording.crash.monotonic_ns
    elif note is not None:
        ended_ns = note.monotonic_ns
        if note.status is not None:
            end = Exit(ExitKind.EXITED, ExitSource.GOODBYE, code=note.status & 0xFF)
    else:
        ended_ns = max((beat.beat_ns for beat in recording.pulse.heartbeats), default=0)
        soft_errors.append("when it ended is not known: its last heartbeat is given")
    name = link.name or str(process.pid)
    target = Target(
        replace(identify_process(process), name=printable(name)),
        open_gone_watch(process),
        link,
        TargetWatch(settings.policy, ended_ns),
        recording.created_at_ns,
        facts=[observed(FactCode.NO_MONITOR, "recorder")],
        dumps=_find_dumps(settings.dumps_dir, process.pid, recording),
        owner_pid=monitor_pid,
    )
    for text in soft_errors:
        target.note_soft_error(text)
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
