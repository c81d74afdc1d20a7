"""Documents without secrets, and documents to give away: every field, and that the rest stays."""

from __future__ import annotations

import msgspec
import pytest

from perimortem.documents import examination as examinations
from perimortem.documents import inventory as inventories
from perimortem.documents import report as reports
from perimortem.documents.base import encode
from perimortem.model.evidence import Confidence
from perimortem.model.exits import ExitKind
from perimortem.model.fact import FactCode
from perimortem.model.thread_sample import HangKind
from perimortem.report.html.page import render_page
from perimortem.report.redact import redact_document
from perimortem.report.share import REMOVED, share
from perimortem.report.text import render_account, render_headline
from perimortem.testing.documents import make_examination, make_exit, make_report

AT = "2026-01-01T00:00:00.000000Z"
WORD = "hunter" + "2"


def make_target(**changes):
    target = reports.TargetProcess(4711, AT, "server", "/home/alice/bin/server", ["server"], {})
    return msgspec.structs.replace(target, **changes)


def make_event(payload, name="login"):
    return reports.TraceEvent(name, AT, payload)


def make_stack(tid, name, *frames):
    return examinations.ThreadStack(
        tid=tid, name=name, crashed=False, frame_count=len(frames), frames=list(frames),
        folds=[], end="the end", whole=True, notes=[],
    )  # fmt: skip


def make_frame(function, file):
    return examinations.Frame(
        number=0, language="native", address="0x1234", function=function, offset="0x0",
        module="server", module_offset="0x4", source=examinations.SourceLine(file, 7, None),
        inlined=[], trust="context",
    )  # fmt: skip


def make_reason(**changes):
    reason = examinations.Reason(
        kind="uncaught-exception", text="", exception="SIGABRT", tid=1, instruction=None,
        access=None, message=None, thrown_type=None, evidence=[],
    )  # fmt: skip
    return msgspec.structs.replace(reason, **changes)


def test_a_report_without_secrets_is_the_same_object():
    report = make_report(last_event=make_event({"step": 17, "tokens": 512, "key": "left"}))
    assert redact_document(report) is report


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"target": make_target(command_line=["x", "--password", "plain"])}, "[redacted]"),
        ({"last_event": make_event({"a": [{"password": "plain"}]})}, "login"),
        ({"last_event": make_event({"passwd": 12345678})}, "passwd"),
        ({"last_event": make_event(f"password={WORD}")}, "password=[redacted]"),
        ({"recent_events": [make_event({"url": f"amqp://u:{WORD}@mq"})]}, "amqp://u:[redacted]@mq"),
        ({"soft_errors": [f"cannot read https://u:{WORD}@host/x"]}, "https://u:[redacted]@host/x"),
        (
            {"examination": make_examination(reason=make_reason(message=f"token={WORD}"))},
            "token=[redacted]",
        ),
    ],
)
def test_every_kind_of_field_is_redacted(changes, shown):
    report = redact_document(make_report(**changes))
    text = encode(report)
    assert shown in text
    for secret in (WORD, "plain", "12345678"):
        assert secret not in text
    assert redact_document(report) is report


def test_the_text_of_a_hangs_stacks_is_redacted_with_its_threads():
    examination = make_examination(threads=[make_stack(1, f"token={WORD}")])
    hang = reports.Hang(
        stopped=[], still_beating=[], last_beat_at=AT, detected_at=AT, recovered_at=None, late_ms=0,
        state=None, kind=HangKind.LOCK, threads=[], stacks=f"thread 1 (token={WORD})",
        examination=examination,
    )  # fmt: skip
    redacted = redact_document(make_report(hangs=[hang])).hangs[0]
    assert redacted.stacks.startswith("thread 1 (token=[redacted])")


def test_names_of_code_are_not_redacted():
    frame = make_frame("Parser::token=(Token const&)", "/src/token=/password.c")
    report = make_report(examination=make_examination(threads=[make_stack(1, "x", frame)]))
    assert redact_document(report) is report


PERSONAL = ("alice", "hunter", "Customer", "10.1.2.3", "bobs-laptop", "fe80", "payroll", "/srv")


def make_personal_report():
    evidence = [
        reports.Evidence(
            code=FactCode.KERNEL_FAULT,
            values={"text": "conn hunter2[7]: segfault in server[1,2]"},
            fact="conn hunter2[7]: segfault in server[1,2]",
            source="kernel log",
            confidence=Confidence.OBSERVED,
        ),
        reports.Evidence(
            code=FactCode.RULE,
            values={"verdict": "crash", "why": "its own fatal signal", "row": 17},
            fact="crash: its own fatal signal (rule 17 of docs/verdicts.md)",
            source="verdict table",
            confidence=Confidence.DERIVED,
        ),
    ]
    examination = make_examination(
        program="/home/alice/bin/server",
        threads=[make_stack(7, "conn hunter2", make_frame("serve", "/home/alice/src/serve.c"))],
        reason=make_reason(
            text="an exception was not caught: std::runtime_error: no Customer 17",
            message="no Customer 17",
            thrown_type="std::runtime_error",
            evidence=[
                examinations.ReasonEvidence("what(): no Customer 17", "memory", Confidence.OBSERVED)
            ],
        ),
        missing=[examinations.Missing("/srv/lib/libx.so", "/srv/lib/libx.so: is stripped")],
        notes=["peer 10.1.2.3 and fe80::1:2:3:4 went away"],
    )
    target = make_target(
        command_line=[
            "/home/alice/bin/server",
            "--config=/srv/payroll.toml",
            "-u",
            "hunter2",
            "crash",
        ],
        labels={"RANK": "3", "PYTEST_CURRENT_TEST": "test_payroll"},
    )
    return make_report(
        host=reports.Host("bobs-laptop.example", "Linux 6.1", "boot"),
        exit=make_exit(ExitKind.SIGNALED, signal=11, signal_name="SIGSEGV", text="ended by SIGSEGV"),
        target=target,
        where=reports.Where(
            "serve in /srv/server+0x4, thread conn hunter2 (7)", "/srv/server", "0x4", "conn hunter2", 7
        ),
        last_event=make_event("for Customer hunter2"),
        recent_events=[
            make_event({"rss_bytes": 1024, "threads": 2, "who": "alice"}, "system.stats"),
            make_event("1", "order of hunter2"),
        ],
        heartbeats=[reports.Heartbeat("file:/srv/payroll.log", 1.0, 10.0, False, AT)],
        dumps=[
            reports.Dump("/home/alice/dumps/conn-1-2.dmp", "0x1105", 1, "stop", 1.0, 1, [
                "4096 bytes at 0x1 (/home/alice/My Customer/x y.dat) were left out: device memory"
            ], None)
        ],
        evidence=evidence,
        examination=examination,
        soft_errors=["this report is kept in /home/alice/spool/1.json until the store takes it"],
    )  # fmt: skip


def test_a_shared_report_names_no_one_and_nothing_of_theirs():
    inventory = inventories.Inventory(
        modules=[inventories.Module("/srv/lib/libx.so", "0x1", 1, "ab")],
        region_count=3,
        regions=[
            inventories.Region("0x1", 1, "r--", False, path)
            for path in ("/srv/lib/libx.so", "/srv/payroll.db", "[heap]", "[anon:hunter]", "")
        ],
        kinds=[],
        handle_count=1,
        handles=[inventories.Handle(3, "socket", "/srv/hunter.sock", {"peer": "10.1.2.3:80"})],
    )
    report = make_personal_report()
    shared, examination, reduced = share(report, report.examination, inventory)
    ways = (
        encode(shared),
        render_headline(shared) + render_account(shared, full=True),
        render_page(shared, examination, reduced),
        encode(reduced),
    )
    for shown in ways:
        for personal in PERSONAL:
            assert personal not in shown, (personal, shown)
    assert [region.path for region in reduced.regions] == [
        "libx.so", "[file]", "[heap]", "[anon]", "",
    ]  # fmt: skip


def test_a_shared_report_still_explains_the_end():
    shared = share(make_personal_report())[0]
    text = render_account(shared, full=True)
    for needed in (
        "ended by SIGSEGV", "std::runtime_error", "serve", "server+0x4", "login",
        "its own fatal signal (rule 17", "1.0 KiB of memory, 2 threads", "kernel log",
        "(perimortem show --share)",
    ):  # fmt: skip
        assert needed in text, (needed, text)
    assert shared.target.command_line == [
        "server", f"--config={REMOVED}", "-u", REMOVED, REMOVED,
    ]  # fmt: skip
    assert shared.target.labels == {"RANK": "3"}
    assert shared.uid == make_personal_report().uid
    assert share(shared)[0].target == shared.target


@pytest.mark.parametrize(
    ("name", "executable", "command_line", "shown"),
    [
        ("server", "/opt/server", ["/opt/server"], "server"),
        ("server.exe", r"C:\x\server.exe", ["server"], "server.exe"),
        ("train.py", "/usr/bin/python3", ["/usr/bin/python3", "./train.py"], "train.py"),
        ("bash", None, ["-bash"], "bash"),
        ("sshd", None, ["sshd: alice@pts/0"], "sshd"),
        ("alice", "/opt/server", ["/opt/server"], "server"),
        ("kworker", None, [], "kworker"),
    ],
)
def test_a_process_keeps_the_name_of_its_program_only(name, executable, command_line, shown):
    target = make_target(name=name, executable=executable, command_line=command_line)
    shared = share(make_report(target=target))[0].target
    assert shared.name == shown
    assert "alice" not in encode(shared)


def test_an_assertion_is_source_code_and_stays():
    message = "server: /home/alice/src/serve.c:12: serve: Assertion `n > 0' failed."
    reason = make_reason(kind="assertion", text=f"an assertion failed: {message}", message=message)
    report = make_report(
        examination=make_examination(
            reason=reason, threads=[make_stack(1, "", make_frame("serve", "/home/alice/src/serve.c"))]
        )
    )  # fmt: skip
    shared = share(report)[0].examination.reason
    assert shared.message == "server: serve.c:12: serve: Assertion `n > 0' failed."


@pytest.mark.parametrize(
    "text",
    [
        "read of 8 bytes: rax holds the text 'hunter2!': a pointer was overwritten by it",
        "jump to 0x2132726574_6e7568, which reads 'hunter2!': not a valid address",
        "return to 0x213272657, which reads 'it's hunter': not a valid address",
    ],
)
def test_a_pointer_that_is_text_is_not_shown(text):
    pointer = f"{int.from_bytes(b'hunter2!', 'little'):#x}"
    access = examinations.Access("read", pointer, 8, "[rax]", {"rax": pointer})
    reason = make_reason(kind="non-canonical", text=text, access=access)
    crash = reports.Crash(
        code=11, name="SIGSEGV", si_code=128, address=pointer, program_counter="0x55d0616263ff",
        module="server", module_offset="0x4", tid=1, thread_name="",
        text=f"SIGSEGV at {pointer} in server+0x4, thread (1)",
    )  # fmt: skip
    report = make_report(examination=make_examination(reason=reason), crash=crash)
    shared = share(report)[0]
    assert "hunter" not in encode(shared)
    assert pointer not in encode(shared)
    assert shared.examination.reason.text != text
    assert shared.crash.address == "0x0"
    assert shared.crash.program_counter == "0x55d0616263ff"


def test_names_of_cpp_are_no_network_addresses():
    text = "in abc::def::ab::cd at 12:30:45, version 1.2.3, ::1 and 127.0.0.1:80"
    shared = share(make_report(soft_errors=[text]))[0]
    assert shared.soft_errors[0].startswith("in abc::def::ab::cd at 12:30:45, version 1.2.3")
    assert "127.0.0.1" not in shared.soft_errors[0]
