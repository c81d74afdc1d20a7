"""The evidence of a verdict: each fact in words, with its source and how sure it is. Pure."""

from __future__ import annotations

from perimortem.analyze.crash import describe_crash, name_crash
from perimortem.analyze.observations import BeatAge, Observations, Request
from perimortem.analyze.verdict import Goodbye, Row
from perimortem.exits.decode import describe_exit
from perimortem.exits.signals import KERNEL_RAISED, OWN_FAULT, SIGKILL, signal_name
from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.recording import ExitNote

TRACE = "tracefs"
_LOGGED_FAULTS = frozenset({4, 7, 8, 11})
"""ILL, BUS, FPE, SEGV: the kernel logs them when no handler takes them."""


def describe_note(note: ExitNote) -> str:
    """ "_exit called in libgpu_rt.so+0x41d0a, thread infer"."""
    place = "unknown code"
    if note.module:
        name = note.module.replace("\\", "/").rsplit("/", 1)[-1]
        place = f"{name}+{note.module_offset:#x}"
    name = f"{note.thread_name} " if note.thread_name else ""
    thread = "main thread" if note.is_main_thread else f"thread {name}({note.tid})"
    return f"{note.function} called in {place}, {thread}"


def derive_evidence(
    seen: Observations,
    goodbye: Goodbye,
    last_beat: BeatAge | None,
    request: Request | None,
    row: Row,
    crash: Crash | None,
) -> list[Evidence]:
    """Every fact that the verdict rests on, each with its source; the rule that was applied last."""
    facts = [_exit_evidence(seen.exit)]
    if seen.crash is not None:
        facts += _crash_evidence(seen.crash, seen, is_cause=crash is not None)
    note = seen.recording.exit_note if seen.recording else None
    if note is not None:
        facts.append(Evidence(describe_note(note), "agent", Confidence.OBSERVED))
        if note.caller is not ExitCaller.UNKNOWN and not note.is_wanted:
            reason = (
                "from another thread than main"
                if note.caller is not ExitCaller.LIBRARY
                else "by a library, not by the program or its language runtime"
            )
            facts.append(Evidence(f"it was ended {reason}", "agent", Confidence.DERIVED))
    if goodbye is Goodbye.SAID:
        facts.append(Evidence("it said goodbye", "recorder", Confidence.OBSERVED))
    elif goodbye is Goodbye.NO_AGENT and seen.leaves_unseen:
        text = "a Go program leaves by a system call of its own: a goodbye cannot be known"
        facts.append(Evidence(text, "ELF file", Confidence.OBSERVED))
    elif goodbye is Goodbye.NO_AGENT:
        facts.append(
            Evidence(
                "no agent was in it: a goodbye or a last beat cannot be known",
                seen.recording_error or "recorder",
                Confidence.OBSERVED,
            )
        )
    elif seen.exit.kind is not ExitKind.RUNNING:
        facts.append(Evidence("it said no goodbye", "recorder", Confidence.OBSERVED))
    if last_beat is not None:
        facts.append(_beat_evidence(last_beat, seen))
    facts += [_request_evidence(other, seen) for other in seen.requests[-3:]]
    facts += _kernel_evidence(seen)
    if seen.exit.signal is not None and request is None and crash is None:
        facts += _sender_evidence(seen)
    if seen.exit.kind is ExitKind.TERMINATED:
        facts += _terminated_evidence(request)
    facts.append(
        Evidence(
            f"{row.verdict}: {row.why}", f"verdict table, row {row.number}", Confidence.DERIVED
        )
    )
    return facts


def _exit_evidence(end: Exit) -> Evidence:
    known = end.source is not ExitSource.NONE
    source = end.source.value if known else "no source"
    return Evidence(f"it {describe_exit(end)}", source, Confidence.OBSERVED)


def _crash_evidence(crash: Crash, seen: Observations, *, is_cause: bool) -> list[Evidence]:
    text = describe_crash(crash)
    if not crash.is_fatal:
        text += "; a handler of the program's own took it"
    if not is_cause:
        text += ", and it went on"
    facts = [Evidence(text, "crash handler", Confidence.OBSERVED)]
    if crash.nested_code is not None:
        nested = signal_name(crash.nested_code)
        text = f"a handler of the program's own was called for it, and then raised {nested}"
        facts.append(Evidence(text, "crash handler", Confidence.OBSERVED))
    if seen.crash_sender is not None:
        sender = seen.crash_sender
        who = f"process {sender.pid}" + (f" ({sender.name})" if sender.name else "")
        text = f"{name_crash(crash)} was sent by {who}"
        facts.append(Evidence(text, "siginfo", Confidence.OBSERVED))
    elif crash.is_sent:
        text = f"{name_crash(crash)} was sent by the process to itself (abort, raise)"
        facts.append(Evidence(text, "siginfo", Confidence.OBSERVED))
    return facts


def _beat_evidence(beat: BeatAge, seen: Observations) -> Evidence:
    name, age_s = beat.heartbeat.name, beat.age_ns / 1e9
    when = "the end of the watch" if seen.exit.kind is ExitKind.RUNNING else "the end"
    if not beat.heartbeat.beaten:
        text = f"heartbeat {name} was registered {age_s:.1f} s before {when} and never beat"
    else:
        limit = f"limit {beat.threshold_ns / 1e9:g} s"
        text = f"heartbeat {name} beat last {age_s:.1f} s before {when} ({limit})"
    return Evidence(text, _beat_source(name), Confidence.OBSERVED)


def _beat_source(name: str) -> str:
    if name.startswith("file:"):
        return "file"
    outside = {
        "progress": "process counters",
        "watchdog": "sd_notify",
        "output": "output",
        "window": "window",
    }
    return outside.get(name, "recorder")


def _request_evidence(request: Request, seen: Observations) -> Evidence:
    before_s = max(0.0, (seen.ended_ns - request.at_ns) / 1e9)
    if request.by_policy:
        is_windows = seen.exit.source is ExitSource.PROCESS_HANDLE
        what = (
            "TerminateProcess was called"
            if is_windows
            else f"{signal_name(request.signal)} was sent"
        )
        text = f"{what} {before_s:.1f} s before, as --on-hang asked"
        return Evidence(text, "monitor", Confidence.OBSERVED)
    if request.words:
        text = (
            f"{request.words} came {before_s:.1f} s before to all that are attached to the console"
        )
        return Evidence(text, "console", Confidence.OBSERVED)
    if request.from_terminal:
        who = "the terminal (Ctrl-C or hang-up)"
    elif request.sender is not None:
        who = f"process {request.sender.pid}"
        who += f" ({request.sender.name})" if request.sender.name else ""
    else:
        who = "another process"
    if request.is_traced:
        text = f"{signal_name(request.signal)} came from {who} {before_s:.1f} s before"
        return Evidence(text, TRACE, Confidence.OBSERVED)
    way = "to the whole group" if request.to_group or request.from_terminal else "and was passed on"
    return Evidence(
        f"{signal_name(request.signal)} came from {who} {before_s:.1f} s before {way}",
        "siginfo",
        Confidence.OBSERVED,
    )


def _kernel_evidence(seen: Observations) -> list[Evidence]:
    words = (
        seen.words.fault.text if seen.words.fault else None,
        seen.words.oom_kill,
        seen.words.seccomp,
        seen.words.hang,
    )
    return [Evidence(text, seen.words.source, Confidence.OBSERVED) for text in words if text]


def _terminated_evidence(request: Request | None) -> list[Evidence]:
    if request is not None:
        return []
    left = "it never came to leave: ExitProcess would have told the agent, TerminateProcess tells nobody"
    who = "TerminateProcess was called by another process or by itself; which one was not seen"
    return [
        Evidence(left, "recorder", Confidence.DERIVED),
        Evidence(who, "exit code", Confidence.ASSUMED),
    ]


def _sender_evidence(seen: Observations) -> list[Evidence]:
    if seen.words.oom_kill or seen.words.fault or seen.words.seccomp:
        return []
    note = seen.recording.exit_note if seen.recording else None
    if note is not None and seen.exit.signal == 6:
        return []
    if seen.has_crash_handler and seen.exit.signal in _LOGGED_FAULTS:
        return [
            Evidence(
                "the signal came to no handler: it was held back or ignored, or a handler of the "
                "program's own met it while it was at the same one",
                "crash handler",
                Confidence.DERIVED,
            )
        ]
    if seen.words.is_readable and seen.exit.signal in _LOGGED_FAULTS:
        return [
            Evidence(
                "the kernel logged no fault of it: the signal was sent by a process, or raised again "
                "by a handler of its own",
                "kernel log",
                Confidence.DERIVED,
            )
        ]
    if seen.exit.signal in OWN_FAULT or seen.exit.signal in KERNEL_RAISED:
        return [
            Evidence(
                "raised by the program itself: nothing was seen sending it",
                "exit status",
                Confidence.ASSUMED,
            )
        ]
    facts = []
    if seen.words.is_readable and seen.exit.signal == SIGKILL:
        text = "not the out-of-memory killer: the kernel logged no such kill"
        facts.append(Evidence(text, "kernel log", Confidence.DERIVED))
    if seen.words.trace_error:
        text = f"who sent it could not be traced: {seen.words.trace_error}"
        facts.append(Evidence(text, TRACE, Confidence.OBSERVED))
    text = "sent by a process or the kernel; which one was not seen"
    return [*facts, Evidence(text, "exit status", Confidence.ASSUMED)]
