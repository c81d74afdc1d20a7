"""The facts of a verdict, each with its source and confidence. Pure."""

from __future__ import annotations

from perimortem.analysis.crash import describe_crash, name_crash
from perimortem.analysis.observations import BeatAge, Observations, Request, has_sent_itself
from perimortem.analysis.verdict import Goodbye, Row
from perimortem.exits.signals import KERNEL_RAISED, OWN_FAULT, SIGABRT, SIGKILL, signal_name
from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import Fact, FactCode, assumed, derived, observed
from perimortem.model.recording import ExitNote

_HANDLED_FAULTS = frozenset({4, 7, 8, 11})
"""ILL, BUS, FPE, SEGV: our handler takes them."""
_LOGGED_FAULTS = _HANDLED_FAULTS - {7}
"""The kernel logs them if no handler takes them (show_signal_msg, show_signal); a SIGBUS it does not."""
_REQUESTS_SHOWN = 3


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
) -> list[Fact]:
    """Every fact that the verdict rests on; the rule that was applied comes last."""
    facts = [_exit_fact(seen.exit)]
    if seen.crash is not None:
        facts += _crash_facts(seen.crash, seen, is_cause=crash is not None)
    note = seen.recording.exit_note if seen.recording else None
    if note is not None:
        facts += _note_facts(note)
    facts += _goodbye_facts(seen, goodbye)
    if last_beat is not None:
        facts.append(_beat_fact(last_beat, seen))
    facts += [_request_fact(other, seen) for other in seen.requests[-_REQUESTS_SHOWN:]]
    facts += _kernel_facts(seen)
    if seen.exit.signal is not None and request is None and crash is None:
        facts += _sender_facts(seen)
    if seen.exit.kind is ExitKind.TERMINATED and request is None:
        facts.append(derived(FactCode.NEVER_LEFT, "recorder"))
        facts.append(assumed(FactCode.TERMINATED_UNSEEN, "exit code"))
    rule = derived(
        FactCode.RULE, "verdict table", verdict=str(row.verdict), why=row.why, row=row.number
    )
    return [*facts, rule]


def _exit_fact(end: Exit) -> Fact:
    is_known = end.source is not ExitSource.NONE
    return observed(
        FactCode.EXIT,
        end.source.value if is_known else "monitor",
        kind=str(end.kind),
        code=end.code,
        signal=end.signal,
        core_dumped=end.core_dumped,
        subcode=end.subcode,
        source=str(end.source),
        error=end.error,
    )


def _crash_facts(crash: Crash, seen: Observations, *, is_cause: bool) -> list[Fact]:
    source = "crash handler"
    facts = [
        observed(
            FactCode.CRASH,
            source,
            crash=describe_crash(crash),
            is_fatal=crash.is_fatal,
            is_cause=is_cause,
        )
    ]
    if crash.nested_code is not None:
        signal = signal_name(crash.nested_code)
        facts.append(observed(FactCode.NESTED_CRASH, source, signal=signal))
    sender = seen.crash_sender
    if sender is not None:
        facts.append(
            observed(
                FactCode.CRASH_SENT,
                "siginfo",
                signal=name_crash(crash),
                pid=sender.pid,
                name=sender.name,
            )
        )
    elif crash.is_sent:
        facts.append(observed(FactCode.CRASH_SENT_BY_ITSELF, "siginfo", signal=name_crash(crash)))
    return facts


def _note_facts(note: ExitNote) -> list[Fact]:
    facts = [observed(FactCode.EXIT_CALL, "agent", call=describe_note(note))]
    if note.caller is not ExitCaller.UNKNOWN and not note.is_wanted:
        is_library = note.caller is ExitCaller.LIBRARY
        code = FactCode.ENDED_BY_LIBRARY if is_library else FactCode.ENDED_BY_THREAD
        facts.append(derived(code, "agent"))
    return facts


def _goodbye_facts(seen: Observations, goodbye: Goodbye) -> list[Fact]:
    if goodbye is Goodbye.SAID:
        return [observed(FactCode.GOODBYE, "recorder")]
    if goodbye is Goodbye.NO_AGENT and seen.has_agent and seen.leaves_unseen is not False:
        is_known = seen.leaves_unseen is not None
        return [observed(FactCode.GOODBYE_UNKNOWABLE, "ELF file", is_program_known=is_known)]
    if goodbye is Goodbye.NO_AGENT:
        return [observed(FactCode.NO_AGENT, "recorder", why=seen.recording_error)]
    if seen.exit.kind is not ExitKind.RUNNING:
        return [observed(FactCode.NO_GOODBYE, "recorder")]
    return []


def _beat_fact(beat: BeatAge, seen: Observations) -> Fact:
    heartbeat = beat.heartbeat
    is_running = seen.exit.kind is ExitKind.RUNNING
    age_s = round(beat.age_ns / 1e9, 3)
    source = _beat_source(heartbeat.name)
    if not heartbeat.beaten:
        return observed(
            FactCode.NEVER_BEAT,
            source,
            heartbeat=heartbeat.name,
            age_s=age_s,
            is_running=is_running,
        )
    return observed(
        FactCode.LAST_BEAT,
        source,
        heartbeat=heartbeat.name,
        age_s=age_s,
        limit_s=beat.threshold_ns / 1e9,
        is_running=is_running,
    )


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


def _request_fact(request: Request, seen: Observations) -> Fact:
    before_s = round(max(0.0, (seen.ended_ns - request.at_ns) / 1e9), 3)
    signal = signal_name(request.signal)
    if request.by_policy:
        return observed(
            FactCode.POLICY_SIGNAL,
            "monitor",
            signal=signal,
            number=request.signal,
            before_s=before_s,
            is_windows=seen.exit.source is ExitSource.PROCESS_HANDLE,
        )
    if request.console_event:
        return observed(
            FactCode.CONSOLE_EVENT, "console", event=request.console_event, before_s=before_s
        )
    if request.from_terminal:
        return observed(FactCode.TERMINAL_SIGNAL, "siginfo", signal=signal, before_s=before_s)
    way = "traced" if request.is_traced else "group" if request.to_group else "passed-on"
    return observed(
        FactCode.SIGNAL_FROM_PROCESS,
        "tracefs" if request.is_traced else "siginfo",
        signal=signal,
        before_s=before_s,
        pid=request.sender.pid if request.sender else None,
        name=request.sender.name if request.sender else None,
        way=way,
    )


def _kernel_facts(seen: Observations) -> list[Fact]:
    findings = seen.findings
    lines = (
        (FactCode.KERNEL_FAULT, findings.fault.text if findings.fault else None),
        (FactCode.OOM_KILL, findings.oom_kill),
        (FactCode.SECCOMP, findings.seccomp),
        (FactCode.WINDOW_HANG, findings.hang),
    )
    return [observed(code, findings.source, text=text) for code, text in lines if text]


def _sender_facts(seen: Observations) -> list[Fact]:
    """For an end by a signal whose sender was not seen: what speaks for one or the other."""
    findings, signal = seen.findings, seen.exit.signal
    if findings.oom_kill or findings.fault or findings.seccomp:
        return []
    if any(fact.code is FactCode.LIMIT_REACHED for fact in seen.noted):
        return []
    note = seen.recording.exit_note if seen.recording else None
    if note is not None and signal == SIGABRT:
        return []
    if signal is not None and has_sent_itself(seen):
        return [observed(FactCode.OWN_SIGNAL, "tracefs", signal=signal_name(signal))]
    if seen.has_crash_handler and signal in _HANDLED_FAULTS:
        return [derived(FactCode.NO_HANDLER_REACHED, "crash handler")]
    if findings.logs_faults and signal in _LOGGED_FAULTS:
        return [derived(FactCode.NO_FAULT_LOGGED, "kernel log")]
    if signal in OWN_FAULT or signal in KERNEL_RAISED:
        return [assumed(FactCode.RAISED_UNSEEN, "exit status")]
    facts = []
    if findings.is_readable and signal == SIGKILL:
        facts.append(derived(FactCode.NOT_OOM, "kernel log"))
    if findings.trace_error:
        facts.append(observed(FactCode.NO_TRACE, "tracefs", why=findings.trace_error))
    return [*facts, assumed(FactCode.SENDER_UNSEEN, "exit status")]
