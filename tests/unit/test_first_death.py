"""Which process of a tree died first, and who followed."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.first_death import CASCADE_GAP_NS, VIOLENT, find_first_death
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.tree import TreeProcess
from perimortem.model.verdict import Verdict

SECOND_NS = 10**9
ENDS = {
    Verdict.CLEAN_EXIT: Exit(ExitKind.EXITED, ExitSource.WAITID, code=0),
    Verdict.FAILED_EXIT: Exit(ExitKind.EXITED, ExitSource.WAITID, code=1),
    Verdict.STOPPED: Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=15),
    Verdict.KILLED: Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=9),
    Verdict.HANG: Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=9),
    Verdict.CRASH: Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=11),
    None: Exit(ExitKind.RUNNING, ExitSource.NONE),
}


def process(pid, ended_s, verdict, parent=1, **labels):
    return TreeProcess(
        pid=pid, parent_pid=parent, name="p", command_line=(), started_at_ns=0,
        ended_at_ns=None if verdict is None else int(ended_s * SECOND_NS), exit=ENDS[verdict],
        verdict=verdict, where=None, labels=tuple(labels.items()), number=None,
        ended_ns=None if verdict is None else int(ended_s * SECOND_NS),
    )  # fmt: skip


def test_a_killed_rank_and_those_that_followed():
    ranks = [process(10 + i, 31, Verdict.FAILED_EXIT, RANK=str(i)) for i in range(8) if i != 3]
    first = find_first_death(
        process(1, 31.5, Verdict.FAILED_EXIT),
        [*ranks, process(13, 0.5, Verdict.KILLED, RANK="3")],
    )
    assert first.process.pid == 13
    assert [(f.text, f.count) for f in first.followers] == [("exited 1", 7)]
    assert first.within_ns == 31 * SECOND_NS


def test_of_ends_that_were_noticed_together_the_violent_one_is_first():
    """A starved monitor sees them all at once: in which order they came it cannot know."""
    ranks = [process(10 + i, 5, Verdict.FAILED_EXIT, RANK=str(i)) for i in range(5) if i != 3]
    killed = process(13, 5, Verdict.KILLED, RANK="3")
    for order in itertools.permutations([*ranks, killed]):
        first = find_first_death(process(1, 5.5, Verdict.FAILED_EXIT), order)
        assert first.process is killed
        assert [(f.text, f.count) for f in first.followers] == [("exited 1", 4)]


def test_a_command_that_ended_well_has_no_first_death():
    worker = process(2, 5, Verdict.CRASH)
    for verdict in (Verdict.CLEAN_EXIT, Verdict.STOPPED):
        assert find_first_death(process(1, 6, verdict), [worker]) is None


def test_a_death_of_another_time_is_not_the_cause():
    early = process(2, 5, Verdict.CRASH)
    late = 6 + CASCADE_GAP_NS / SECOND_NS
    assert find_first_death(process(1, late, Verdict.CRASH), [early]) is None
    between = process(3, 40, Verdict.STOPPED)
    assert find_first_death(process(1, late, Verdict.CRASH), [early, between]).process is early


def test_a_shells_failed_test_is_not_blamed():
    """configure: a compiler fails, the script goes on, and ends with a failure much later."""
    compiler = process(2, 3, Verdict.FAILED_EXIT)
    assert find_first_death(process(1, 20, Verdict.FAILED_EXIT), [compiler]) is None


def test_a_failure_that_every_parent_answered_is_followed_down():
    """make: cc1 fails, so gcc does, so make does."""
    cc1 = process(3, 10.0, Verdict.FAILED_EXIT, parent=2)
    gcc = process(2, 10.1, Verdict.FAILED_EXIT, parent=1)
    grep = process(4, 2.0, Verdict.FAILED_EXIT, parent=1)
    first = find_first_death(process(1, 10.2, Verdict.FAILED_EXIT), [grep, gcc, cc1])
    assert first.process is cc1


@given(
    st.lists(st.tuples(st.floats(0, 200), st.sampled_from(list(ENDS))), max_size=12),
    st.floats(0, 200),
    st.sampled_from([verdict for verdict in ENDS if verdict]),
)
def test_it_is_never_later_than_what_followed(others, ended_s, verdict):
    counter = itertools.count(2)
    members = [process(next(counter), at, v) for at, v in others]
    first = find_first_death(process(1, ended_s, verdict), members)
    if first is not None:
        assert first.within_ns >= 0
        assert first.process.verdict in VIOLENT | {Verdict.FAILED_EXIT}
        assert sum(f.count for f in first.followers) <= len(members)


def test_a_process_reaped_by_its_parent_died_before_it():
    """In any order in which we noticed."""
    command = process(1, 5.0, Verdict.FAILED_EXIT, parent=0)
    late = process(2, 5.01, Verdict.CRASH)
    assert find_first_death(command, [late]).process is late
    orphan = replace(process(3, 5.0, Verdict.KILLED), is_reaped_by_us=True)
    assert find_first_death(command, [orphan]) is None


def test_a_process_that_we_ended_is_not_the_first():
    command = process(1, 5.1, Verdict.HANG, parent=0)
    ended = replace(process(2, 5.0, Verdict.KILLED), is_ended_by_us=True)
    assert find_first_death(command, [ended]) is None


def test_a_process_found_dead_died_before_the_command():
    late = replace(process(2, 5.2, Verdict.KILLED, parent=9), is_met_dead=True)
    first = find_first_death(process(1, 5, Verdict.FAILED_EXIT), [late])
    assert first.process.pid == 2
