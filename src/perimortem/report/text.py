"""An incident as text: the first lines answer what, where, who, when, last. Pure.

Works on the JSON document, so that a stored incident reads the same as a fresh one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from perimortem.documents.examination import Examination
from perimortem.documents.report import (
    Dump,
    Exit,
    FirstDeath,
    Hang,
    Report,
    TargetProcess,
    TraceEvent,
    TreeProcess,
)
from perimortem.model.fact import FactCode
from perimortem.model.labels import TITLE, name_part
from perimortem.report.examination.text import (
    describe_frame,
    describe_innermost,
    describe_trust,
    render_frames,
)
from perimortem.report.units import (
    describe_pause,
    format_count,
    format_duration,
    format_size,
    parse_time,
    warn_of_memory,
)
from perimortem.text import printable

_INDENT = " " * 10
_STACK_LINES_MAX = 60
_FRAMES_SHOWN = 3
_BEFORE_MAIN = ("__libc_start_call_main", "__libc_start_main", "_start", "start_thread", "clone3")
_TREE_LINES_MAX = 12
_SAID = {
    "go-panic": "Go panic",
    "go-fatal-error": "Go, fatal error",
    "rust-panic": "Rust panic",
    "node-fatal-error": "Node.js, fatal error",
    "node-error": "Node.js",
    "python-error": "Python",
    "python-fatal-error": "Python, fatal error",
    "cpp-exception": "C++ exception",
    "dotnet-exception": ".NET exception",
    "sanitizer": "sanitizer",
    "jvm-fatal-error": "Java VM",
    "dynamic-linker": "dynamic linker",
    "assertion": "assertion",
    "heap-check": "heap check",
}
"""By the kind of its last message on standard error."""
_UNREMARKABLE = ("clean-exit", "failed-exit", "stopped", "unknown", None)


def render_headline(report: Report) -> str:
    """ "SILENT CRASH  server[48213]  after 2 h 14 min"."""
    target = report.target
    verdict = report.verdict.upper().replace("-", " ")
    if report.exit.kind == "running" and report.hangs:
        verdict = "HANG, RECOVERED" if report.hangs[-1].recovered_at else "HANG"
    name = printable(target.name)
    who = name_process(target) if target.pid else name
    hung = _find_hung(report)
    who = f"{hung} under {who}" if hung else who
    end = report.ended_at or report.verdict_at
    duration_s = (parse_time(end) - parse_time(report.started_at)).total_seconds()
    line = f"{verdict}  {who}  after {format_duration(duration_s)}"
    return line if report.verdict != "launch-failed" else f"{verdict}  {name}"


def render_account(report: Report, *, full: bool = False, with_stacks: bool = True) -> str:
    """The report. ``full`` adds the evidence, all recent events and whole stacks (``show``).

    ``with_stacks`` is False if they were just shown, at the hang.
    """
    lines: list[str] = []
    if report.first_death:
        _add(lines, "first", _first(report.first_death))
    _add(lines, "what", _what(report))
    examination = report.examination
    if examination is not None and examination.reason is not None:
        _add(lines, "why", examination.reason.text)
    said = describe_said(report)
    if said:
        _add(lines, "said", said)
    for line in _where(report):
        _add(lines, "where", line)
    for line in describe_python(report):
        _add(lines, "python", line)
    if report.exit.kind != "running":
        _add(lines, "who", describe_who(report))
    for label, texts in (
        ("last", describe_last(report)),
        ("hang", map(describe_hang, report.hangs)),
        ("waits", describe_suspicions(report)),
        ("ranks", _ranks(report)),
        ("tree", _others(report, full=full)),
        ("dump", map(_dump, report.dumps)),
    ):
        for text in texts:
            _add(lines, label, text)
    if full and report.last_words is not None:
        _add(lines, "stderr", f"its end, from {report.last_words.source}:")
        lines += [f"{_INDENT}{line}" for line in report.last_words.text.splitlines()]
    for hang in report.hangs if with_stacks else ():
        lines += _stacks(hang, full=full)
    if full and examination is not None:
        lines += _crashed_stack(examination)
    if full:
        lines += _details(report)
    for error in report.soft_errors:
        _add(lines, "note", error)
    if report.id is not None and not full:
        _add(lines, "next", f"perimortem show {report.id}" + _inspect_hint(report))
    return "\n".join(lines) + "\n" if lines else ""


def describe_said(report: Report) -> str:
    """ "Go panic: index out of range, main.go:12"; empty if it said nothing that is known."""
    words = report.last_words
    if words is None or words.kind is None or words.said is None:
        return ""
    reason = report.examination.reason if report.examination is not None else None
    if reason is not None and words.said in reason.text:
        return ""
    text = f"{_SAID[words.kind]}: {words.said}"
    text += f", at {words.place}" if words.place else ""
    return text + (f"; it has written {words.file}" if words.file else "")


def _find_hung(report: Report) -> str:
    """ "python3[4711]": what the process that hangs waits for; empty if it hangs by itself."""
    if report.verdict != "hang" and not (report.exit.kind == "running" and report.hangs):
        return ""
    facts = [fact.values for fact in report.evidence if fact.code is FactCode.WAITS_FOR]
    return f"{printable(str(facts[-1]['name']))}[{facts[-1]['pid']}]" if facts else ""


def describe_suspicions(report: Report) -> list[str]:
    """Threads of it that probably did not continue."""
    return [fact.fact for fact in report.evidence if fact.code is FactCode.QUIET]


def _ranks(report: Report) -> list[str]:
    """Where the ranks of its job stood, the last time."""
    return [fact.fact for fact in report.evidence if fact.code is FactCode.RANKS][-1:]


def _add(lines: list[str], label: str, text: str) -> None:
    for i, part in enumerate(text.split("\n")):
        head = f"  {label:<8}" if i == 0 and not _repeats(lines, label) else _INDENT
        lines.append(head + part)


def _repeats(lines: list[str], label: str) -> bool:
    """A label is written once for consecutive lines."""
    for line in reversed(lines):
        if not line.startswith(_INDENT):
            return line.startswith(f"  {label:<8}")
    return False


def _where(report: Report) -> list[str]:
    """The place, and the frames that lead to it, starting at the one to examine."""
    examination = report.examination
    crashed = next((t for t in examination.threads if t.crashed), None) if examination else None
    signature = examination.signature if examination else None
    if crashed is None or signature is None or signature.blamed_frame is None:
        return [printable(report.where.text)] if report.where else []
    number = signature.blamed_frame
    frames = [f for f in crashed.frames if f.number >= number and f.function not in _BEFORE_MAIN]
    name = f"{crashed.name} " if crashed.name else ""
    if not frames:
        return []
    place = f"{describe_innermost(frames[0])}, thread {name}({crashed.tid})"
    sure = [frame for frame in frames[1:] if not describe_trust(frame)]
    return [place + describe_trust(frames[0])] + [
        f"#{frame.number} {describe_innermost(frame)}" for frame in sure[:_FRAMES_SHOWN]
    ]


def describe_python(report: Report) -> list[str]:
    """The lines of Python that the crashed thread was in, the innermost first; not the place itself."""
    examination = report.examination
    crashed = next((t for t in examination.threads if t.crashed), None) if examination else None
    if crashed is None:
        return []
    shown = " ".join(_where(report))
    texts = (describe_frame(frame) for frame in crashed.frames if frame.language == "python")
    return [text for text in texts if text not in shown][:_FRAMES_SHOWN]


def _what(report: Report) -> str:
    if report.exit.kind == "running" and report.crash is not None:
        return f"{report.crash.name}; how it ended was not seen"
    return str(report.exit.text) + _silence(report)


def _silence(report: Report) -> str:
    is_plain = report.exit.kind == "exited"
    return "; no goodbye" if report.silent and is_plain else ""


def describe_who(report: Report) -> str:
    """Who ended it, and how that is known."""
    who = report.who
    return f"{printable(who.text)}  [{who.confidence}: {who.source}]"


def describe_last(report: Report) -> list[str]:
    """The most telling heartbeat, and the last event."""
    lines = []
    beat = report.last_heartbeat
    if beat:
        is_running = report.exit.kind == "running"
        when = "before this report" if is_running else "before the end"
        age, limit = format_duration(beat.age_s), f"limit {beat.threshold_s:g} s"
        state = "stale" if beat.stale else "fresh"
        if not beat.stale and beat.age_s > beat.threshold_s:
            state = "not judged: it was held for a dump, or waited for, meanwhile"
        lines.append(f"heartbeat {printable(beat.name)} {age} {when} ({limit}): {state}")
    event = report.last_event
    if event:
        lines.append(_describe_event(event))
    return lines


def _describe_event(event: TraceEvent) -> str:
    when = parse_time(event.at).strftime("%H:%M:%S.%f")[:-3] if event.at else ""
    payload = event.payload
    if event.name == "system.stats" and isinstance(payload, dict):
        return f"{when} {_describe_stats(payload)}"
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"{when} {printable(event.name)} {printable(text)}"


def _describe_stats(stats: dict[str, Any]) -> str:
    """ "12.0 MiB of memory, 5 threads, 10 files open, 1.2 s of CPU time"."""
    parts = [
        describe(stats[name])
        for name, describe in _STATS.items()
        if isinstance(stats.get(name), int | float) and stats[name] >= 0
    ]
    return ", ".join(parts) or printable(json.dumps(stats))


_STATS: dict[str, Callable[[float], str]] = {
    "rss_bytes": lambda value: f"{format_size(int(value))} of memory",
    "threads": lambda value: format_count(int(value), "thread"),
    "fds": lambda value: format_count(int(value), "file") + " open",
    "cpu_s": lambda value: f"{format_duration(value)} of CPU time",
}


def name_process(process: TreeProcess | TargetProcess) -> str:
    """ "rank 3 (python[4711])", "postgres: walwriter (postgres[12])": by its labels if it has one."""
    name = f"{printable(process.name)}[{process.pid}]"
    said = [text for text in (name_part(process.labels), process.labels.get(TITLE)) if text]
    return f"{', '.join(said)} ({name})" if said else name


def _first(first: FirstDeath) -> str:
    """ "rank 3 (python[12]) ended by SIGKILL; 7 others exited 1; all within 31.0 s"."""
    text = f"{name_process(first)} {_describe_end(first)}"
    text += _place(first)
    within = format_duration(first.within_ms / 1e3)
    if first.followers:
        followed = ", ".join(
            f"{f.count} other{'s' if f.count > 1 else ''} {f.exit}" for f in first.followers
        )
        text += f"; {followed}; all within {within}"
    else:
        text += f"; the command ended {within} later"
    return text + _hint(first)


def _others(report: Report, *, full: bool) -> list[str]:
    """The other processes: how many there were, and those whose end was not clean."""
    count = report.process_count
    if count <= 1:
        return []
    others = report.processes[1:]
    bad = [p for p in others if p.verdict not in _UNREMARKABLE and p.ended_at]
    running = [p for p in others if p.ended_at is None]
    # A clean exit has "where" only if neither the program nor its runtime chose to leave.
    ended = [p for p in others if p.verdict == "clean-exit" and p.where]
    counted = [f"{len(bad)} crashed or were killed"] if bad else []
    counted += [f"{len(ended)} left with status 0 through a library"] if ended else []
    counted += [f"{len(running)} still running"] if running else []
    if report.unwatched_count:
        counted.append(f"{report.unwatched_count} were too many to watch")
    if not counted and not full:
        return []
    lines = [f"{count} processes" + (": " if counted else "") + ", ".join(counted)]
    shown_first = None if report.first_death is None else report.first_death.pid
    shown = others if full else [p for p in bad + ended if p.pid != shown_first] + running
    for process in shown[: _TREE_LINES_MAX if not full else None]:
        lines.append(
            f"{name_process(process)} {_describe_end(process)}" + _place(process) + _hint(process)
        )
    if len(shown) > _TREE_LINES_MAX and not full:
        lines.append(f"... {len(shown) - _TREE_LINES_MAX} more: perimortem show")
    return lines


def _describe_end(process: TreeProcess) -> str:
    if process.verdict == "oom-kill":
        return "was killed by the kernel: out of memory" + (
            f" ({process.why})" if process.why else ""
        )
    return _shorten(process.exit)


def _shorten(end: Exit) -> str:
    """ "ended by SIGTERM", without what SIGTERM means."""
    return str(end.text).split(" (")[0]


def _place(process: TreeProcess) -> str:
    test = process.labels.get("PYTEST_CURRENT_TEST")
    where = f", {process.where.text}" if process.where else ""
    return where + (f", in {test}" if test else "")


def _hint(process: TreeProcess) -> str:
    return f"  (perimortem show {process.id})" if process.id else ""


def describe_hang(hang: Hang) -> str:
    """What stopped beating and when, and what its threads did."""
    names = ", ".join(printable(beat.name) for beat in hang.stopped)
    lived = ", ".join(printable(name) for name in hang.still_beating)
    last = parse_time(hang.last_beat_at).strftime("%H:%M:%S.%f")[:-3]
    text = f"no beat of {names} since {last}"
    text += f"; still beating: {lived}" if lived else "; nothing else was beating"
    text += f"; {hang.state}" if hang.state else ""
    if hang.recovered_at:
        lasted = parse_time(hang.recovered_at) - parse_time(hang.last_beat_at)
        text += f"; recovered after {format_duration(lasted.total_seconds())}"
    return text


def _dump(dump: Dump) -> str:
    if dump.path is None:
        return f"none: {dump.error}"
    paused = describe_pause(dump.pause, dump.target_paused_ms)
    size = format_size(dump.size_bytes)
    text = f"{dump.path}  {size}, {format_count(dump.thread_count, 'thread')}, {paused}"
    count = len(dump.soft_errors)
    text += f", {format_count(count, 'soft error')}" if count else ""
    warning = warn_of_memory(int(dump.type, 16))
    return text + (f"\n{warning}" if warning else "")


def _stacks(hang: Hang, *, full: bool) -> list[str]:
    if not hang.stacks:
        return []
    lines = ["  stacks:"]
    text = hang.stacks.splitlines()
    shown = text if full else text[:_STACK_LINES_MAX]
    lines += [(_INDENT + printable(line)).rstrip() for line in shown]
    if len(shown) < len(text):
        lines.append(f"{_INDENT}... {len(text) - len(shown)} more lines: perimortem show")
    return lines


def _crashed_stack(examination: Examination) -> list[str]:
    crashed = next((t for t in examination.threads if t.crashed), None)
    if crashed is None:
        return []
    lines = ["  stack:", *(_INDENT + line for line in render_frames(crashed))]
    for missing in examination.missing:
        _add(lines, "missing", f"{missing.module}: {missing.text}")
    return lines


def _details(report: Report) -> list[str]:
    lines: list[str] = []
    target = report.target
    _add(lines, "when", f"{report.started_at} to {report.ended_at or 'now'}")
    if target.executable:
        _add(lines, "program", printable(target.executable))
    _add(lines, "command", printable(" ".join(target.command_line)))
    _add(lines, "host", f"{report.host.name}, {report.host.kernel}")
    for evidence in report.evidence:
        place = f"[{evidence.confidence}: {evidence.source}]"
        _add(lines, "facts", f"{printable(evidence.fact)}  {place}")
    for beat in report.heartbeats:
        _add(
            lines,
            "beats",
            f"{printable(beat.name)}: {beat.age_s:.1f} s before the end, "
            f"limit {beat.threshold_s:g} s" + (", stale" if beat.stale else ""),
        )
    for event in _informative_events(report.recent_events):
        _add(lines, "events", _describe_event(event))
    for dump in report.dumps:
        for error in dump.soft_errors:
            _add(lines, "missing", error)
    return lines


def _informative_events(events: list[TraceEvent]) -> list[TraceEvent]:
    """The program's own events, and only the last of the agent's once-a-second statistics."""
    stats = [event for event in events if event.name == "system.stats"]
    return [event for event in events if event.name != "system.stats" or event is stats[-1]]


def _inspect_hint(report: Report) -> str:
    path = next((dump.path for dump in report.dumps if dump.path), None)
    return f" · perimortem analyze {path}" if path else ""
