"""Facts that a verdict rests on: a code and its values. ``report.sentences`` makes text of them.

Decisions read codes and values, never text: a target that names its heartbeat or thread like one of our
sentences changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from perimortem.model.evidence import Confidence

Value = str | int | float | bool | None
"""Strings are printable text."""


class FactCode(StrEnum):
    """What kind of fact; its values are named in brackets."""

    EXIT = "exit"
    """How it ended [kind, code, signal, core_dumped, subcode, source, error]."""
    CRASH = "crash"
    """Its crash handler reported a fault [crash, is_fatal, is_cause]."""
    NESTED_CRASH = "nested-crash"
    """The program's own handler was called for it and crashed [signal]."""
    CRASH_SENT = "crash-sent"
    """The signal of the crash was sent by another process [signal, pid, name]."""
    CRASH_SENT_BY_ITSELF = "crash-sent-by-itself"
    """abort, raise [signal]."""
    EXIT_CALL = "exit-call"
    """Where it called exit or its like [call]."""
    ENDED_BY_LIBRARY = "ended-by-library"
    ENDED_BY_THREAD = "ended-by-thread"
    GOODBYE = "goodbye"
    NO_GOODBYE = "no-goodbye"
    GOODBYE_UNKNOWABLE = "goodbye-unknowable"
    """A Go program exits by its own system call."""
    NO_AGENT = "no-agent"
    """[why]"""
    WATCHED_WITHOUT_AGENT = "watched-without-agent"
    """[why]"""
    RECORDER_LOST = "recorder-lost"
    """[why]"""
    LAST_BEAT = "last-beat"
    """[heartbeat, age_s, limit_s, is_running]"""
    NEVER_BEAT = "never-beat"
    """[heartbeat, age_s, is_running]"""
    POLICY_SIGNAL = "policy-signal"
    """perimortem signalled it, because --on-hang asks for that [signal, before_s, is_windows]."""
    POLICY_TREE = "policy-tree"
    """Another process of its tree hung, and the whole tree was being ended [name, pid]."""
    CONSOLE_EVENT = "console-event"
    """[event, before_s]"""
    TERMINAL_SIGNAL = "terminal-signal"
    """[signal, before_s]"""
    SIGNAL_FROM_PROCESS = "signal-from-process"
    """[signal, before_s, pid, name, way]: ``way``: traced, group, passed-on."""
    OWN_SIGNAL = "own-signal"
    """It sent the signal to itself [signal]."""
    KERNEL_FAULT = "kernel-fault"
    """[text]"""
    OOM_KILL = "oom-kill"
    """[text]"""
    CGROUP_OOM = "cgroup-oom"
    """[text]"""
    SECCOMP = "seccomp"
    """[text]"""
    LIMIT_REACHED = "limit-reached"
    """One of its resource limits explains the signal [limit, value, used_s]: ``limit``: cpu (seconds),
    file-size (bytes)."""
    WINDOW_HANG = "window-hang"
    """[text]"""
    NEVER_LEFT = "never-left"
    """It did not call ExitProcess."""
    TERMINATED_UNSEEN = "terminated-unseen"
    NO_HANDLER_REACHED = "no-handler-reached"
    NO_FAULT_LOGGED = "no-fault-logged"
    RAISED_UNSEEN = "raised-unseen"
    NOT_OOM = "not-oom"
    NO_TRACE = "no-trace"
    """[why]"""
    SENDER_UNSEEN = "sender-unseen"
    STATUS_UNKNOWN = "status-unknown"
    REAPED_BEFORE = "reaped-before"
    ETW_REFUSED = "etw-refused"
    """[why]"""
    SILENCE = "silence"
    """What a heartbeat's source found out [text]."""
    WAITS_FOR = "waits-for"
    """[name, pid]"""
    HANG_CAUSE = "hang-cause"
    """By two samples [text, apart_ms]."""
    DEADLOCK = "deadlock"
    """[text]"""
    QUIET = "quiet"
    """Threads that probably do not continue, and since when: 0 if that does not matter
    [text, for_s]."""
    RANKS = "ranks"
    """Where the ranks of a job stand that hang together [text]."""
    LOOK_FAILED = "look-failed"
    """What its threads wait for was not read in time [after_s]."""
    DEADLINES_RESET = "deadlines-reset"
    """[why, lost_s]"""
    WORKER_FAILED = "worker-failed"
    """[text]"""
    NO_MONITOR = "no-monitor"
    """It ended while no monitor ran."""
    NOT_STARTED = "not-started"
    """[why]"""
    RULE = "rule"
    """The row of the verdict table [verdict, why, row]."""


@dataclass(frozen=True)
class Fact:
    """One fact, where it comes from, and how sure it is."""

    code: FactCode
    source: str
    confidence: Confidence
    values: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))


def observed(code: FactCode, source: str, /, **values: Value) -> Fact:
    """Seen by us or said by ``source``."""
    return Fact(code, source, Confidence.OBSERVED, values)


def derived(code: FactCode, source: str, /, **values: Value) -> Fact:
    """Follows from what was seen."""
    return Fact(code, source, Confidence.DERIVED, values)


def assumed(code: FactCode, source: str, /, **values: Value) -> Fact:
    """The likeliest; nothing that was seen shows it."""
    return Fact(code, source, Confidence.ASSUMED, values)
