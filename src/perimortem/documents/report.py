"""The report of an incident: docs/report.schema.json."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from perimortem.documents.base import Document, Hex, Time
from perimortem.documents.examination import Examination
from perimortem.model.dump import Pause
from perimortem.model.evidence import Confidence
from perimortem.model.exits import ExitKind, ExitSource
from perimortem.model.fact import FactCode
from perimortem.model.last_words import SaidKind
from perimortem.model.thread_sample import HangKind
from perimortem.model.verdict import Verdict
from perimortem.model.who import How, WhoKind


class Host(Document, frozen=True):
    """The machine it happened on."""

    name: str
    kernel: str
    boot_id: str | None


class Process(Document, frozen=True):
    """A process that sent a signal."""

    pid: int
    uid: int | None
    name: str | None
    """Null when it was gone before it could be looked at."""


class Who(Document, frozen=True):
    """Who ended it."""

    kind: WhoKind
    how: How
    """By what; or why it is not known."""
    signal: int | None
    signal_name: str | None
    process: Process | None
    """For the kind process."""
    text: str
    confidence: Confidence
    source: str


class Where(Document, frozen=True):
    """Where it ended."""

    text: str
    module: str | None
    module_offset: Hex | None
    thread_name: str | None
    tid: int | None


class Exit(Document, frozen=True):
    """How it ended, in the system's terms."""

    kind: ExitKind
    code: int | None
    """0 to 255 on Linux; on Windows 32 bits without a sign, an NTSTATUS for the kind exception."""
    subcode: int | None
    """Of a fast-fail (0xC0000409), where the report of Windows has it."""
    signal: int | None
    signal_name: str | None
    si_code: int | None
    sender: Process | None
    core_dumped: bool | None
    raw_status: int | None
    """As wait(2) gives it."""
    source: ExitSource
    text: str


class TargetProcess(Document, frozen=True):
    """The process that the report is about. It has no pid if it was never started."""

    pid: int | None
    start_time: Time | None
    name: str
    executable: str | None
    command_line: list[str]
    labels: dict[str, str]
    """RANK, LOCAL_RANK, SLURM_JOB_ID, POD_NAME and the like, as far as its environment has them."""


class Crash(Document, frozen=True):
    """The fault that it ended of, as its crash handler reported it."""

    code: int
    name: str
    si_code: int
    address: Hex
    program_counter: Hex
    module: str | None
    module_offset: Hex | None
    tid: int
    thread_name: str
    text: str


class Heartbeat(Document, frozen=True):
    """A heartbeat at the end."""

    name: str
    age_s: float
    threshold_s: float
    stale: bool
    at: Time


class TraceEvent(Document, frozen=True):
    """An event that the program or the monitor emitted."""

    name: str
    at: Time | None
    payload: Any


class StoppedHeartbeat(Document, frozen=True):
    """A heartbeat whose stop made a hang."""

    name: str
    threshold_s: float
    beaten: bool


class ThreadActivity(Document, frozen=True):
    """What a thread did between two samples of a hang."""

    tid: int
    name: str
    kind: HangKind
    text: str
    run_ms: float
    ready_ms: float


class StuckThread(Document, frozen=True):
    """A thread that nothing will ever wake."""

    pid: int
    tid: int
    process: str
    name: str
    text: str
    """What it waits for: "lock 0x55d0, held by 4711 (loader)"."""
    place: str
    """Where, if its runtime shows that: "work (train.py:11)"; else empty."""
    waits_for: list[int]
    """Those of the others (tids) that could wake it."""


class Hang(Document, frozen=True):
    """A time in which a heartbeat did not beat."""

    stopped: list[StoppedHeartbeat]
    still_beating: list[str]
    last_beat_at: Time
    detected_at: Time
    recovered_at: Time | None
    late_ms: float
    """From the missed limit to the detection."""
    state: str | None
    kind: HangKind
    threads: list[ThreadActivity]
    stacks: str | None
    """The examination as text."""
    examination: Examination | None
    deadlock: list[StuckThread] = field(default_factory=list)
    """If that is why: each waits for the next one, the last one for the first, if they form a circle."""


class Dump(Document, frozen=True):
    """A dump that was written, or why there is none."""

    path: str | None
    type: Hex
    """MINIDUMP_TYPE."""
    size_bytes: int
    pause: Pause
    target_paused_ms: float
    thread_count: int
    soft_errors: list[str]
    error: str | None


class Evidence(Document, frozen=True):
    """A fact that the verdict rests on."""

    code: FactCode | None
    """Null in a report that version 1 wrote."""
    values: dict[str, str | int | float | bool | None]
    fact: str
    """The same as a sentence."""
    source: str
    confidence: Confidence


class TreeProcess(Document, frozen=True):
    """A process of the tree; the first is the command itself."""

    pid: int | None
    parent_pid: int | None
    name: str
    command_line: list[str]
    labels: dict[str, str]
    verdict: Verdict | None
    """Null while it runs."""
    exit: Exit
    where: Where | None
    started_at: Time
    ended_at: Time | None
    id: int | None
    """Its own incident, where it has one."""
    why: str = ""
    """Of one that was killed as memory ran out: what its memory cgroup counted, with limit and use."""


class Followers(Document, frozen=True):
    """Processes that ended alike after the first death."""

    exit: str
    count: int


class FirstDeath(TreeProcess, frozen=True, kw_only=True):
    """The first process of the last cascade of a tree."""

    followers: list[Followers]
    within_ms: float


class LastWords(Document, frozen=True):
    """The end of its standard error."""

    text: str
    source: str
    kind: SaidKind | None
    """Of the last message in it that is known; null: there is none."""
    said: str | None
    """That message, in one line."""
    place: str | None
    """The source file and line that it names."""
    file: str | None
    """A file that it says was written (hs_err of a JVM)."""


class Report(Document, frozen=True):
    """One incident."""

    schema_version: Literal[2]
    id: int | None
    """Number in the store; null when it could not be recorded."""
    host: Host
    verdict: Verdict
    silent: bool | None
    """True when it gave no word of its end; null when it had no agent that could."""
    who: Who
    where: Where | None
    started_at: Time
    ended_at: Time | None
    """Null while it runs."""
    verdict_at: Time
    target: TargetProcess
    exit: Exit
    crash: Crash | None
    examination: Examination | None
    last_heartbeat: Heartbeat | None
    heartbeats: list[Heartbeat]
    last_event: TraceEvent | None
    recent_events: list[TraceEvent]
    hangs: list[Hang]
    dumps: list[Dump]
    evidence: list[Evidence]
    first_death: FirstDeath | None
    processes: list[TreeProcess]
    process_count: int
    unwatched_count: int
    soft_errors: list[str]
    """What was done less than asked, and why."""
    last_words: LastWords | None = None
    """Null if it could not be seen (--keep-output), or nothing was printed."""
    uid: str | None = None
    """The same for all reports of one incident, everywhere; null in reports of earlier versions."""
