"""Who ended it? Decided by what was seen and by codes of facts, never by text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from perimortem.exits.signals import SIGKILL, SIGPIPE, SIGSYS, SIGXCPU, SIGXFSZ
from perimortem.model.evidence import Confidence
from perimortem.model.exits import Exit, ExitKind, Sender
from perimortem.model.fact import Fact, FactCode, assumed
from perimortem.model.verdict import Verdict
from perimortem.model.who import How, Who, WhoKind

_OBSERVED, _ASSUMED = Confidence.OBSERVED, Confidence.ASSUMED
_WITNESSES = (
    FactCode.CRASH,
    FactCode.EXIT_CALL,
    FactCode.KERNEL_FAULT,
    FactCode.CRASH_SENT_BY_ITSELF,
)
"""Stated by the process itself, or by the kernel about what it did."""
_LIMITS = frozenset({SIGXCPU, SIGXFSZ})
_STATUS = "exit status"


def derive_who(
    end: Exit, verdict: Verdict, sender: Sender | None, facts: Sequence[Fact], *, has_crashed: bool
) -> Who:
    """``sender``: the process whose signal ended it, if it was seen; ``has_crashed``: its handler
    reported the fault that ended it."""
    by_code = {fact.code: fact for fact in facts}
    if end.kind in (ExitKind.RUNNING, ExitKind.NOT_STARTED) or verdict is Verdict.LAUNCH_FAILED:
        return _who_without_end(end, has_crashed=has_crashed)
    policy = _who_by_policy(end, by_code)
    if policy is not None:
        return policy
    own = by_code.get(FactCode.OWN_SIGNAL)
    if own is not None:
        return Who(WhoKind.ITSELF, How.SIGNAL, _OBSERVED, own.source, signal=end.signal)
    if sender is not None:
        source = "tracefs" if _is_traced(sender, facts) else "siginfo"
        return Who(WhoKind.PROCESS, How.SIGNAL, _OBSERVED, source, sender, end.signal)
    limit = _who_for_want(end, verdict, by_code)
    if limit is not None:
        return limit
    if verdict is Verdict.STOPPED:
        return _who_stopped(end, by_code)
    if verdict in (Verdict.KILLED, Verdict.HANG):
        how = How.TERMINATED_UNSEEN if end.kind is ExitKind.TERMINATED else How.SENDER_UNSEEN
        return Who(WhoKind.UNKNOWN, how, _ASSUMED, _STATUS, signal=end.signal)
    if verdict is Verdict.UNKNOWN:
        return Who(WhoKind.UNKNOWN, How.STATUS_UNKNOWN, _ASSUMED, _STATUS)
    return _who_by_kernel(end, by_code) or _who_itself(end, by_code)


def _who_for_want(end: Exit, verdict: Verdict, by_code: dict[FactCode, Fact]) -> Who | None:
    """The kernel, when there was no more of something."""
    how, fact = How.RLIMIT, by_code.get(FactCode.LIMIT_REACHED)
    if verdict is Verdict.OOM_KILL:
        how = How.OOM
        fact = by_code.get(FactCode.OOM_KILL) or assumed(FactCode.OOM_KILL, _STATUS)
    if fact is None:
        return None
    return Who(WhoKind.KERNEL, how, fact.confidence, fact.source, signal=end.signal)


def _who_by_policy(end: Exit, by_code: dict[FactCode, Fact]) -> Who | None:
    policy = by_code.get(FactCode.POLICY_SIGNAL)
    if policy is not None:
        number = policy.values["number"]
        signal = number if isinstance(number, int) else None
        return Who(WhoKind.PERIMORTEM, How.SIGNAL, _OBSERVED, policy.source, signal=signal)
    tree = by_code.get(FactCode.POLICY_TREE)
    if tree is None or (end.kind is ExitKind.EXITED and end.code == 0):
        return None
    return Who(WhoKind.PERIMORTEM, How.TREE, Confidence.DERIVED, tree.source)


def _who_without_end(end: Exit, *, has_crashed: bool) -> Who:
    if end.kind is not ExitKind.RUNNING:
        return Who(WhoKind.NOBODY, How.NOT_STARTED, _OBSERVED, "exec")
    if has_crashed:
        return Who(WhoKind.ITSELF, How.FAULT, _OBSERVED, "crash handler")
    return Who(WhoKind.NOBODY, How.RUNNING, _OBSERVED, "monitor")


def _is_traced(sender: Sender, facts: Sequence[Fact]) -> bool:
    return any(
        fact.code is FactCode.SIGNAL_FROM_PROCESS
        and fact.values["way"] == "traced"
        and fact.values["pid"] == sender.pid
        for fact in facts
    )


def _who_stopped(end: Exit, by_code: dict[FactCode, Fact]) -> Who:
    for code in (FactCode.TERMINAL_SIGNAL, FactCode.CONSOLE_EVENT):
        if code in by_code:
            source = by_code[code].source
            return Who(WhoKind.TERMINAL, How.SIGNAL, _OBSERVED, source, signal=end.signal)
    return Who(WhoKind.UNKNOWN, How.SENDER_UNSEEN, _ASSUMED, _STATUS, signal=end.signal)


def _who_by_kernel(end: Exit, by_code: dict[FactCode, Fact]) -> Who | None:
    """What the kernel did by itself."""
    if FactCode.SECCOMP in by_code and end.signal in (SIGSYS, SIGKILL):
        source = by_code[FactCode.SECCOMP].source
        return Who(WhoKind.KERNEL, How.SECCOMP, _OBSERVED, source, signal=end.signal)
    if end.signal == SIGPIPE:
        return Who(WhoKind.KERNEL, How.PIPE, _ASSUMED, _STATUS, signal=SIGPIPE)
    if end.signal in _LIMITS:
        return Who(WhoKind.KERNEL, How.RLIMIT, _ASSUMED, _STATUS, signal=end.signal)
    return None


def _who_itself(end: Exit, by_code: dict[FactCode, Fact]) -> Who:
    if FactCode.GOODBYE in by_code and end.kind is ExitKind.EXITED:
        return Who(WhoKind.ITSELF, How.EXIT, _OBSERVED, "recorder")
    if end.kind is ExitKind.EXCEPTION:
        is_certain = FactCode.NO_AGENT not in by_code
        confidence = _OBSERVED if is_certain else Confidence.DERIVED
        return Who(WhoKind.ITSELF, How.EXCEPTION, confidence, "exit code")
    for code in (FactCode.NO_FAULT_LOGGED, FactCode.NO_HANDLER_REACHED):
        fact = by_code.get(code)
        if fact is not None:
            how = How.SENT_OR_RERAISED
            return Who(WhoKind.UNKNOWN, how, fact.confidence, fact.source, signal=end.signal)
    how = How.EXIT if end.kind is ExitKind.EXITED else How.FAULT
    witness = next((by_code[code] for code in _WITNESSES if code in by_code), None)
    if witness is not None:
        return Who(WhoKind.ITSELF, how, _OBSERVED, witness.source, signal=end.signal)
    return Who(WhoKind.ITSELF, how, _ASSUMED, _STATUS, signal=end.signal)
