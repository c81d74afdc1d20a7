"""Who ended a process is decided by codes of facts; no name that a program chooses changes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.who import derive_who
from perimortem.exits.signals import SIGKILL, SIGPIPE, SIGSYS, SIGTERM, SIGXCPU
from perimortem.model.evidence import Confidence
from perimortem.model.exits import Exit, ExitKind, ExitSource, Sender
from perimortem.model.fact import Fact, FactCode, assumed, derived, observed
from perimortem.model.verdict import Verdict
from perimortem.model.who import How, Who, WhoKind
from perimortem.report.sentences import describe_fact, describe_who

NGINX = Sender(17, 33, "nginx")


def signaled(number):
    return Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=number)


def exited(code):
    return Exit(ExitKind.EXITED, ExitSource.WAITID, code=code)


POLICY = observed(
    FactCode.POLICY_SIGNAL, "monitor", signal="SIGABRT", number=6, before_s=1, is_windows=False
)
TREE = observed(FactCode.POLICY_TREE, "monitor", name="worker", pid=7)
TRACED = observed(
    FactCode.SIGNAL_FROM_PROCESS,
    "tracefs",
    signal="SIGKILL",
    before_s=0,
    pid=17,
    name="nginx",
    way="traced",
)
TERMINAL = observed(FactCode.TERMINAL_SIGNAL, "siginfo", signal="SIGINT", before_s=0)
OWN = observed(FactCode.OWN_SIGNAL, "tracefs", signal="SIGKILL")
CASES = [
    (exited(0), Verdict.CLEAN_EXIT, None, [observed(FactCode.GOODBYE, "recorder")],
     (WhoKind.ITSELF, How.EXIT, "recorder")),
    (exited(3), Verdict.FAILED_EXIT, None, [], (WhoKind.ITSELF, How.EXIT, "exit status")),
    (signaled(11), Verdict.CRASH, None,
     [observed(FactCode.CRASH, "crash handler", crash="x", is_fatal=True, is_cause=True)],
     (WhoKind.ITSELF, How.FAULT, "crash handler")),
    (signaled(11), Verdict.CRASH, None, [derived(FactCode.NO_FAULT_LOGGED, "kernel log")],
     (WhoKind.UNKNOWN, How.SENT_OR_RERAISED, "kernel log")),
    (signaled(11), Verdict.SILENT_CRASH, None, [assumed(FactCode.RAISED_UNSEEN, "exit status")],
     (WhoKind.ITSELF, How.FAULT, "exit status")),
    (signaled(SIGKILL), Verdict.KILLED, NGINX, [TRACED], (WhoKind.PROCESS, How.SIGNAL, "tracefs")),
    (signaled(SIGKILL), Verdict.KILLED, NGINX, [], (WhoKind.PROCESS, How.SIGNAL, "siginfo")),
    (signaled(SIGKILL), Verdict.KILLED, None, [],
     (WhoKind.UNKNOWN, How.SENDER_UNSEEN, "exit status")),
    (signaled(SIGKILL), Verdict.OOM_KILL, None,
     [observed(FactCode.OOM_KILL, "kernel log", text="x")], (WhoKind.KERNEL, How.OOM, "kernel log")),
    (signaled(SIGKILL), Verdict.HANG, None, [POLICY], (WhoKind.PERIMORTEM, How.SIGNAL, "monitor")),
    (signaled(2), Verdict.STOPPED, None, [TERMINAL], (WhoKind.TERMINAL, How.SIGNAL, "siginfo")),
    (signaled(SIGTERM), Verdict.STOPPED, None, [],
     (WhoKind.UNKNOWN, How.SENDER_UNSEEN, "exit status")),
    (signaled(SIGPIPE), Verdict.FAILED_EXIT, None, [], (WhoKind.KERNEL, How.PIPE, "exit status")),
    (signaled(SIGXCPU), Verdict.CRASH, None, [], (WhoKind.KERNEL, How.RLIMIT, "exit status")),
    (signaled(SIGSYS), Verdict.CRASH, None, [observed(FactCode.SECCOMP, "kernel log", text="x")],
     (WhoKind.KERNEL, How.SECCOMP, "kernel log")),
    (signaled(SIGKILL), Verdict.KILLED, None, [OWN], (WhoKind.ITSELF, How.SIGNAL, "tracefs")),
    (signaled(11), Verdict.CRASH, None, [OWN], (WhoKind.ITSELF, How.SIGNAL, "tracefs")),
    (signaled(SIGKILL), Verdict.HANG, None, [OWN, POLICY],
     (WhoKind.PERIMORTEM, How.SIGNAL, "monitor")),
    (signaled(6), Verdict.CRASH, None, [OWN, TREE], (WhoKind.PERIMORTEM, How.TREE, "monitor")),
    (exited(0), Verdict.CLEAN_EXIT, None, [TREE], (WhoKind.ITSELF, How.EXIT, "exit status")),
    (Exit(ExitKind.TERMINATED, ExitSource.PROCESS_HANDLE, code=1), Verdict.KILLED, None, [],
     (WhoKind.UNKNOWN, How.TERMINATED_UNSEEN, "exit status")),
    (Exit(ExitKind.RUNNING, ExitSource.NONE), Verdict.HANG, None, [],
     (WhoKind.NOBODY, How.RUNNING, "monitor")),
    (Exit(ExitKind.NOT_STARTED, ExitSource.EXEC_ERROR), Verdict.LAUNCH_FAILED, None, [],
     (WhoKind.NOBODY, How.NOT_STARTED, "exec")),
    (Exit(ExitKind.UNKNOWN, ExitSource.NONE), Verdict.UNKNOWN, None, [],
     (WhoKind.UNKNOWN, How.STATUS_UNKNOWN, "exit status")),
]  # fmt: skip


@pytest.mark.parametrize(("end", "verdict", "sender", "facts", "expected"), CASES)
def test_who_ended_it(end, verdict, sender, facts, expected):
    who = derive_who(end, verdict, sender, facts, has_crashed=False)
    assert (who.kind, who.how, who.source) == expected
    assert (who.process is not None) == (who.kind is WhoKind.PROCESS)


@pytest.mark.parametrize(("end", "verdict", "sender", "facts", "expected"), CASES)
def test_without_its_evidence_no_process_is_blamed_with_certainty(
    end, verdict, sender, facts, expected
):
    """Without the evidence the answer is no longer certain."""
    if not facts and sender is None:
        return  # it rests on the status alone, and says so
    who = derive_who(end, verdict, None, [], has_crashed=False)
    assert (who.kind, who.how, who.source) != expected or who.confidence is not Confidence.OBSERVED


WORDS = st.sampled_from(
    ["as --on-hang asked", "came from the terminal", "it said goodbye", "came from process 17",
     "kernel logged no fault", "because of --on-hang"]
)  # fmt: skip


@given(name=WORDS, end=st.sampled_from([signaled(SIGKILL), signaled(11), exited(0)]))
def test_what_a_program_calls_its_heartbeats_and_threads_changes_nothing(name, end):
    """A heartbeat named "as --on-hang asked" once made perimortem the one that ended it."""
    facts = [
        observed(
            FactCode.LAST_BEAT, "recorder", heartbeat=name, age_s=1, limit_s=1, is_running=False
        ),
        observed(FactCode.NO_AGENT, "recorder", why=name),
    ]
    with_names = derive_who(end, Verdict.KILLED, None, facts, has_crashed=False)
    assert with_names == derive_who(end, Verdict.KILLED, None, [], has_crashed=False)


def test_every_code_has_a_sentence_and_every_reason_a_text():
    values = dict.fromkeys(
        ["crash", "call", "why", "heartbeat", "signal", "event", "name", "text", "verdict"], "x"
    ) | {
        "age_s": 1.0, "before_s": 1.0, "limit_s": 2.0, "lost_s": 3.0, "apart_ms": 100, "pid": 7,
        "row": 16, "is_fatal": True, "is_cause": True, "is_running": False, "is_windows": False,
        "way": "group", "limit": "cpu", "value": 1, "used_s": 1.0, "for_s": 60.0, "after_s": 20,
        "kind": "exited", "code": 3, "core_dumped": False, "subcode": None,
        "source": "waitid", "error": None,
    }  # fmt: skip
    for code in FactCode:
        at = values | ({"signal": None} if code is FactCode.EXIT else {})
        assert describe_fact(code, at)
    for how in How:
        for kind in WhoKind:
            assert describe_who(Who(kind, how, Confidence.OBSERVED, "x", NGINX, 9))


def test_a_fact_cannot_be_changed():
    fact = Fact(FactCode.GOODBYE, "recorder", Confidence.OBSERVED)
    with pytest.raises(TypeError):
        fact.values["x"] = 1
