"""Facts as sentences: the one place that makes them. Pure.

They are for readers; nothing reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perimortem.exits.decode import describe_exit
from perimortem.exits.signals import signal_name
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import FactCode
from perimortem.model.who import How, Who, WhoKind
from perimortem.report.units import format_duration

Values = Mapping[str, Any]

HOW_FOUND = {
    "bad-call": "by return address",
    "link-register": "by link register",
    "frame-pointer": "by frame pointer",
    "scan": "found by search",
}
"""By the trust in a frame: how it was found without the compiler's frame information."""


def describe_fact(code: FactCode, values: Values) -> str:
    """One sentence without a capital and a full stop, as lists show it."""
    return _SENTENCES[code](values)


def _limit_reached(values: Values) -> str:
    if values["limit"] == "cpu":
        return (
            f"it had used {values['used_s']:g} s of processor time; its limit is {values['value']} s "
            "(RLIMIT_CPU, ulimit -t)"
        )
    return f"its files may not exceed {values['value']} bytes (RLIMIT_FSIZE, ulimit -f)"


def describe_quiet(values: Values) -> str:
    """ "quiet for 60 s: thread 7 (loader) waits for ..."."""
    if not values["for_s"]:
        return f"suspected: {values['text']}"
    return f"quiet for {format_duration(values['for_s'])}: {values['text']}"


def name_process(pid: int | None, name: str | None) -> str:
    """ "process 4711 (nginx)", "another process"."""
    if pid is None:
        return "another process"
    return f"process {pid}" + (f" ({name})" if name else "")


def describe_who(who: Who) -> str:
    """Who ended it, and by what, without how that is known."""
    if who.kind is WhoKind.PROCESS and who.process is not None:
        return name_process(who.process.pid, who.process.name) + _by(who.signal)
    if who.kind is WhoKind.TERMINAL:
        return "the user's terminal" + _by(who.signal)
    if who.kind is WhoKind.PERIMORTEM:
        return f"perimortem{_by(who.signal)}, because of --on-hang"
    if who.kind is WhoKind.ITSELF and who.how is How.SIGNAL:
        return f"itself{_by(who.signal)}"
    return _WHO[who.how]


def _by(signal: int | None) -> str:
    return "" if signal is None else f", by {signal_name(signal)}"


_WHO: dict[How, str] = {
    How.EXIT: "itself: it exited",
    How.FAULT: "itself",
    How.EXCEPTION: "itself, by an exception that was not handled",
    How.SIGNAL: "a signal",
    How.TREE: "the end of its process tree",
    How.OOM: "the kernel: out of memory",
    How.SECCOMP: "the kernel: its seccomp filter does not allow the system call",
    How.RLIMIT: "the kernel: a resource limit was reached",
    How.PIPE: "the kernel: the reader of its output had gone",
    How.NOT_STARTED: "the program could not be started",
    How.RUNNING: "it still runs",
    How.SENDER_UNSEEN: "unknown: a process or the kernel sent a signal, and it was not seen which one",
    How.SENT_OR_RERAISED: (
        "unknown: the signal was sent by a process, or raised again by its own handler"
    ),
    How.TERMINATED_UNSEEN: (
        "unknown: TerminateProcess was called, and it was not seen by which process"
    ),
    How.STATUS_UNKNOWN: "unknown: no source knows how it ended",
}


def _exit(values: Values) -> str:
    end = Exit(
        ExitKind(values["kind"]),
        ExitSource(values["source"]),
        code=values["code"],
        signal=values["signal"],
        core_dumped=values["core_dumped"],
        subcode=values["subcode"],
        error=values["error"],
    )
    return (
        f"it is {describe_exit(end)}"
        if end.kind is ExitKind.RUNNING
        else (f"it {describe_exit(end)}")
    )


def _crash(values: Values) -> str:
    text = str(values["crash"])
    if not values["is_fatal"]:
        text += "; a handler of the program's own took it"
    return text if values["is_cause"] else text + ", and it went on"


def _last_beat(values: Values) -> str:
    age = format_duration(values["age_s"])
    return (
        f"heartbeat {values['heartbeat']} last beat {age} before {_when(values)} "
        f"(limit {values['limit_s']:g} s)"
    )


def _never_beat(values: Values) -> str:
    age = format_duration(values["age_s"])
    return (
        f"heartbeat {values['heartbeat']} was registered {age} before {_when(values)} "
        "and never beat"
    )


def _when(values: Values) -> str:
    return "this report" if values["is_running"] else "the end"


def _before(values: Values) -> str:
    return f"{format_duration(values['before_s'])} before the end"


def _policy_signal(values: Values) -> str:
    call = "TerminateProcess was called" if values["is_windows"] else f"{values['signal']} was sent"
    return f"{call} by perimortem {_before(values)}, because of --on-hang"


def _signal_from_process(values: Values) -> str:
    way = {
        "traced": "",
        "group": ", to the whole process group",
        "passed-on": ", and was passed on",
    }[values["way"]]
    sender = name_process(values["pid"], values["name"])
    return f"{values['signal']} came from {sender} {_before(values)}{way}"


def _text(values: Values) -> str:
    return str(values["text"])


_SENTENCES: dict[FactCode, Callable[[Values], str]] = {
    FactCode.EXIT: _exit,
    FactCode.CRASH: _crash,
    FactCode.NESTED_CRASH: lambda v: (
        f"a handler of the program's own was called for it, and then raised {v['signal']}"
    ),
    FactCode.CRASH_SENT: lambda v: f"{v['signal']} was sent by {name_process(v['pid'], v['name'])}",
    FactCode.CRASH_SENT_BY_ITSELF: lambda v: (
        f"{v['signal']} was sent by the process to itself (abort, raise)"
    ),
    FactCode.EXIT_CALL: lambda v: str(v["call"]),
    FactCode.ENDED_BY_LIBRARY: lambda _: (
        "it was ended by a library, not by the program or its language runtime"
    ),
    FactCode.ENDED_BY_THREAD: lambda _: "it was ended from another thread than main",
    FactCode.GOODBYE: lambda _: "it said goodbye",
    FactCode.NO_GOODBYE: lambda _: "it said no goodbye",
    FactCode.GOODBYE_UNKNOWABLE: lambda v: (
        "a Go program exits by a direct system call: whether it meant to cannot be known"
        if v.get("is_program_known", True)
        else "its program could not be read: whether it meant to exit is not known"
    ),
    FactCode.NO_AGENT: lambda v: (
        "it was only watched from outside, so whether it meant to exit cannot be known"
        + (f" ({v['why']})" if v["why"] else "")
    ),
    FactCode.WATCHED_WITHOUT_AGENT: lambda v: f"watched without the agent: {v['why']}",
    FactCode.RECORDER_LOST: lambda v: f"its recorder says nothing: {v['why']}",
    FactCode.LAST_BEAT: _last_beat,
    FactCode.NEVER_BEAT: _never_beat,
    FactCode.POLICY_SIGNAL: _policy_signal,
    FactCode.POLICY_TREE: lambda v: (
        f"perimortem was ending its process tree because of --on-hang: {v['name']} ({v['pid']}) hung"
    ),
    FactCode.CONSOLE_EVENT: lambda v: (
        f"{v['event']} came {_before(v)} to every process attached to the console"
    ),
    FactCode.TERMINAL_SIGNAL: lambda v: (
        f"{v['signal']} came from the terminal (Ctrl-C or hang-up) {_before(v)}, "
        "to the whole process group"
    ),
    FactCode.SIGNAL_FROM_PROCESS: _signal_from_process,
    FactCode.OWN_SIGNAL: lambda v: f"{v['signal']} was sent by the process to itself",
    FactCode.KERNEL_FAULT: _text,
    FactCode.OOM_KILL: _text,
    FactCode.CGROUP_OOM: _text,
    FactCode.SECCOMP: _text,
    FactCode.LIMIT_REACHED: _limit_reached,
    FactCode.WINDOW_HANG: _text,
    FactCode.NEVER_LEFT: lambda _: "it did not call ExitProcess: the agent would have noted that",
    FactCode.TERMINATED_UNSEEN: lambda _: (
        "TerminateProcess was called by another process or by itself; which one was not seen"
    ),
    FactCode.NO_HANDLER_REACHED: lambda _: (
        "the signal reached no handler: it was blocked or ignored, or a handler of the program's own "
        "was running for the same signal"
    ),
    FactCode.NO_FAULT_LOGGED: lambda _: (
        "the kernel logged no fault of it: the signal was sent by a process, or raised again by its "
        "own handler"
    ),
    FactCode.RAISED_UNSEEN: lambda _: "raised by the program itself: no sender was seen",
    FactCode.NOT_OOM: lambda _: "not the out-of-memory killer: the kernel logged no such kill",
    FactCode.NO_TRACE: lambda v: f"the sender could not be traced: {v['why']}",
    FactCode.SENDER_UNSEEN: lambda _: "sent by a process or the kernel; which one was not seen",
    FactCode.STATUS_UNKNOWN: lambda _: (
        "no source has the exit status (Linux 6.15, root, or being its parent would)"
    ),
    FactCode.REAPED_BEFORE: lambda _: "it had ended and was reaped before it could be held",
    FactCode.ETW_REFUSED: lambda v: f"it had ended before it could be held (ETW: {v['why']})",
    FactCode.SILENCE: _text,
    FactCode.WAITS_FOR: lambda v: (
        f"it waits for {v['name']}[{v['pid']}], which was examined instead"
    ),
    FactCode.HANG_CAUSE: lambda v: f"{v['text']} (two samples {v['apart_ms']:.0f} ms apart)",
    FactCode.DEADLOCK: _text,
    FactCode.QUIET: describe_quiet,
    FactCode.RANKS: lambda v: f"all ranks hang: {v['text']}",
    FactCode.LOOK_FAILED: lambda v: (
        f"what its threads wait for could not be read within {v['after_s']} s: "
        "a deadlock may have been missed"
    ),
    FactCode.DEADLINES_RESET: lambda v: (
        f"{v['why']} for {format_duration(v['lost_s'])}; deadlines were counted from then on"
    ),
    FactCode.WORKER_FAILED: _text,
    FactCode.NO_MONITOR: lambda _: (
        "no monitor lived when it ended; this is what it left in its recorder"
    ),
    FactCode.NOT_STARTED: lambda v: str(v["why"]),
    FactCode.RULE: lambda v: f"{v['verdict']}: {v['why']} (rule {v['row']} of docs/verdicts.md)",
}
