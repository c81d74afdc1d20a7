"""The verdict table is total and its documentation is the table itself."""

import itertools
from pathlib import Path

import pytest

from perimortem.analysis.verdict import (
    TABLE,
    Beat,
    EndedBy,
    Facts,
    Goodbye,
    HangSeen,
    StatusKind,
    find_row,
    render_table,
)
from perimortem.model.verdict import Verdict

ROOT = Path(__file__).resolve().parent.parent.parent
COMBINATIONS = [
    Facts(*combination)
    for combination in itertools.product(StatusKind, Goodbye, Beat, HangSeen, EndedBy)
]


def test_every_combination_has_exactly_one_row():
    for facts in COMBINATIONS:
        rows = [row.number for row in TABLE if row.matches(facts)]
        assert len(rows) == 1, facts


def test_every_row_and_every_word_is_used():
    used = {find_row(facts).number for facts in COMBINATIONS}
    assert used == {row.number for row in TABLE}
    assert {row.verdict for row in TABLE} == set(Verdict)


def test_docs_show_the_table():
    assert render_table() in (ROOT / "docs" / "verdicts.md").read_text()


@pytest.mark.parametrize(
    ("status", "goodbye", "beat", "hang", "ended_by", "verdict"),
    [
        (StatusKind.ZERO, Goodbye.NONE, Beat.FRESH, HangSeen.NONE, EndedBy.UNKNOWN, "clean-exit"),
        (StatusKind.ZERO, Goodbye.SAID, Beat.FRESH, HangSeen.RECOVERED, EndedBy.UNKNOWN, "clean-exit"),
        (StatusKind.ZERO, Goodbye.NONE, Beat.STALE, HangSeen.NONE, EndedBy.UNKNOWN, "silent-crash"),
        (StatusKind.NONZERO, Goodbye.FOREIGN, Beat.FRESH, HangSeen.NONE, EndedBy.ITSELF, "silent-crash"),
        (StatusKind.NONZERO, Goodbye.NO_AGENT, Beat.NONE, HangSeen.NONE, EndedBy.UNKNOWN, "failed-exit"),
        (StatusKind.SIGKILL, Goodbye.NONE, Beat.STALE, HangSeen.OPEN, EndedBy.OOM, "oom-kill"),
        (StatusKind.SIGKILL, Goodbye.NONE, Beat.STALE, HangSeen.OPEN, EndedBy.UNKNOWN, "hang"),
        (StatusKind.STOP_REQUEST, Goodbye.NONE, Beat.FRESH, HangSeen.NONE, EndedBy.ANOTHER, "stopped"),
        (StatusKind.FAULT, Goodbye.NONE, Beat.FRESH, HangSeen.NONE, EndedBy.ANOTHER, "killed"),
        (StatusKind.FAULT, Goodbye.NONE, Beat.STALE, HangSeen.OPEN, EndedBy.UNKNOWN, "crash"),
        (StatusKind.RUNNING, Goodbye.NONE, Beat.STALE, HangSeen.OPEN, EndedBy.UNKNOWN, "hang"),
        (StatusKind.UNKNOWN, Goodbye.NONE, Beat.STALE, HangSeen.NONE, EndedBy.UNKNOWN, "silent-crash"),
        (StatusKind.UNKNOWN, Goodbye.NO_AGENT, Beat.NONE, HangSeen.NONE, EndedBy.UNKNOWN, "unknown"),
    ],
)  # fmt: skip
def test_verdict_of_some_combinations(status, goodbye, beat, hang, ended_by, verdict):
    assert find_row(Facts(status, goodbye, beat, hang, ended_by)).verdict == verdict
