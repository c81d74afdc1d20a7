"""What processes said before they died while no monitor lived to hear it: told now, once.

A monitor may be killed in the middle of a crash. The note lies in the recorder, a dump that was finished
under its final name; whoever starts next makes an incident of them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from perimortem.clock import Clock
from perimortem.errors import MalformedInput
from perimortem.exits.sources import open_gone_watch
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.evidence import Confidence
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.incident import Host, Incident
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Recording
from perimortem.model.system_log import SystemLogFindings
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session, derive_incident
from perimortem.monitor.settings import Settings
from perimortem.proc import collect_process_info, read_stat
from perimortem.recorder import RecorderFile
from perimortem.recorder.sweep import read_name
from perimortem.text import printable
from perimortem.watch.target import TargetWatch

_AT_ONCE_MAX = 1000


def list_recorders(run_dir: Path) -> list[ProcessRef]:
    """Every process that left one, or has one."""
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
    """Who watches this process by the word of its recorder; 0: nobody of his own, None: unreadable."""
    link = RecorderLink(run_dir, process)
    try:
        recorder = RecorderFile(link.path, process)
    except (OSError, MalformedInput):
        return None
    recorder.close()
    return recorder.monitor_pid


def tell_untold(
    settings: Settings, keeper: Keeper, host: Host, clock: Clock, *, tells_own: bool = False
) -> list[Incident]:
    """Make incidents of crashes that nobody has told, and remove their recorders.

    ``tells_own``: also those of programs that had no monitor of their own: the business of the one that
    serves all."""
    told: list[Incident] = []
    for process in list_recorders(settings.run_dir):
        if len(told) >= _AT_ONCE_MAX:
            break
        monitor_pid = read_monitor_pid(settings.run_dir, process)
        if monitor_pid is None or is_alive(process) or (monitor_pid == 0 and not tells_own):
            continue
        if monitor_pid not in (0, os.getpid()) and read_stat(monitor_pid) is not None:
            continue  # it is about to tell it itself
        incident = _tell(process, settings, keeper, host, clock)
        if incident is not None:
            told.append(incident)
    return told


def _tell(
    process: ProcessRef, settings: Settings, keeper: Keeper, host: Host, clock: Clock
) -> Incident | None:
    link = RecorderLink(settings.run_dir, process)
    recording = link.read_recording(clock.monotonic_ns())
    if recording is None or not _is_telling(recording):
        link.close()
        return None
    claimed = link.path.with_suffix(".told")
    try:
        os.rename(link.path, claimed)  # who succeeds tells it
    except OSError:
        link.close()
        return None
    session = _restore_session(process, link, recording, settings)
    try:
        incident, _ = derive_incident(session, host, clock, SystemLogFindings())
        kept = keeper.keep_restored(session, incident)
        with suppress(OSError):
            if kept.number is None:  # the store failed: for the next one
                claimed.rename(link.path)
            else:
                claimed.unlink()
        return kept
    finally:
        session.close()


def _is_telling(recording: Recording) -> bool:
    note = recording.exit_note
    is_crash = recording.crash is not None and recording.crash.is_fatal
    return is_crash or (note is not None and not note.is_wanted)


def _restore_session(
    process: ProcessRef, link: RecorderLink, recording: Recording, settings: Settings
) -> Session:
    """As if it had been watched: its end is that of its last word."""
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
    session = Session(
        target=replace(collect_process_info(process), name=printable(name)),
        exit_watch=open_gone_watch(process),
        recorder=link,
        watch=TargetWatch(settings.policy, ended_ns),
        watched_since_ns=recording.created_at_ns,
        end=end,
        ended_ns=ended_ns,
    )
    session.add_evidence(
        "no monitor lived when it ended; this is what it left in its recorder",
        "recorder",
        Confidence.OBSERVED,
    )
    session.dumps = _find_dumps(settings.dumps_dir, process.pid, recording)
    return session


def _find_dumps(dumps_dir: Path, pid: int, recording: Recording) -> list[DumpResult]:
    """Finished by a worker whose monitor could not note it any more."""
    found = []
    for path in sorted(dumps_dir.glob(f"*-{pid}.*")):
        try:
            facts = path.stat()
            if facts.st_mtime_ns < recording.created_at_ns:
                continue  # of another process with that pid
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
            soft_errors=("taken by a monitor that ended before it could note it",),
        )
