"""Lines of an account that once contradicted themselves."""

from __future__ import annotations

import msgspec
import pytest

from perimortem.documents.report import Crash, Heartbeat
from perimortem.model.exits import ExitKind
from perimortem.model.verdict import Verdict
from perimortem.report.text import describe_last, render_account
from perimortem.testing import documents


def make_report(age_s, *, stale, kind=ExitKind.SIGNALED):
    beat = Heartbeat("render", age_s, 0.5, stale, "2026-01-01T00:00:00.000000Z")
    return documents.make_report(exit=documents.make_exit(kind), last_heartbeat=beat)


@pytest.mark.parametrize(
    ("age_s", "stale", "state"),
    [(0.3, False, "fresh"), (0.8, True, "stale"), (0.8, False, "not judged")],
)
def test_a_heartbeat_older_than_its_limit_is_never_fresh(age_s, stale, state):
    """It may be older and not stale: it was not judged while the process was held for a dump."""
    (line,) = describe_last(make_report(age_s, stale=stale))
    assert line.split("(limit 0.5 s): ")[1].startswith(state)
    assert "before the end" in line


def test_a_running_process_has_no_end_in_its_report():
    (line,) = describe_last(make_report(0.8, stale=True, kind=ExitKind.RUNNING))
    assert "before the end" not in line


def test_a_crash_whose_end_was_not_seen_is_reported_as_such():
    """The watch ended between the crash handler's report and the end."""
    crash = Crash(11, "SIGSEGV", 1, "0x10", "0x400", None, None, 4711, "server", "SIGSEGV at 0x400")
    report = documents.make_report(
        verdict=Verdict.CRASH, exit=documents.make_exit(ExitKind.RUNNING), crash=crash
    )
    account = render_account(report)
    assert "what    SIGSEGV; how it ended was not seen" in account
    ended = msgspec.structs.replace(report, exit=documents.make_exit(text="ended by SIGSEGV"))
    assert "not seen" not in render_account(ended)
