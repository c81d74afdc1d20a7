"""Which process of a tree died first, and who followed from it? Pure.

Deaths belong to one cascade while no more than a minute lies between one and the next. Of the cascade
that ends with the command, the first violent death counts (a crash, a kill, a hang that was ended).
Where there is none a failed exit does, but only one that a parent can be seen to have answered: `grep`
says "not found" by a status of 1, and shells go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from perimortem.exits.decode import describe_exit_shortly
from perimortem.model.tree import FirstDeath, Followers, TreeProcess
from perimortem.model.verdict import Verdict

CASCADE_GAP_NS = 60_000_000_000
"""torchrun gives its other workers 30 s to end. Arbitrary beyond that."""
_ANSWER_NS = 1_000_000_000
"""A parent that fails so soon after its child is taken to have answered it. Arbitrary."""

VIOLENT = frozenset(
    {Verdict.CRASH, Verdict.SILENT_CRASH, Verdict.KILLED, Verdict.OOM_KILL, Verdict.HANG}
)
_UNWANTED = VIOLENT | {Verdict.FAILED_EXIT, Verdict.STOPPED}


def find_first_death(command: TreeProcess, others: Iterable[TreeProcess]) -> FirstDeath | None:
    """None when the command ended well, or when nobody died before it."""
    if command.ended_at_ns is None or command.verdict not in VIOLENT | {Verdict.FAILED_EXIT}:
        return None
    cascade = _find_cascade(command, others)
    first = next((p for p in cascade if p.verdict in VIOLENT), None)
    if first is None:
        first = _find_answered_failure(command, cascade)
    if first is None or (first is command and len(cascade) == 1):
        return None
    followed = [p for p in cascade if p is not first and _ended_ns(p) >= _ended_ns(first)]
    if not followed:
        return None
    counted = Counter(describe_exit_shortly(p.exit) for p in followed if p is not command)
    return FirstDeath(
        process=first,
        followers=tuple(Followers(text, count) for text, count in counted.most_common()),
        within_ns=_ended_ns(followed[-1]) - _ended_ns(first),
    )


def _find_cascade(command: TreeProcess, others: Iterable[TreeProcess]) -> list[TreeProcess]:
    """Unwanted ends, in the order of time, without a gap up to the command's own."""
    ends = [p for p in others if p.ended_at_ns is not None and p.verdict in _UNWANTED]
    ends = sorted([*ends, command], key=lambda p: (_ended_ns(p), p is command))
    start = ends.index(command)
    while start > 0 and _ended_ns(ends[start]) - _ended_ns(ends[start - 1]) <= CASCADE_GAP_NS:
        start -= 1
    return ends[start:]


def _find_answered_failure(command: TreeProcess, cascade: list[TreeProcess]) -> TreeProcess | None:
    """Down from the command: the child whose failure its parent answered; or one rank among ranks."""
    ranks = [p for p in cascade if dict(p.labels).get("RANK")]
    failed_ranks = [p for p in ranks if p.verdict is Verdict.FAILED_EXIT]
    if len(ranks) > 1 and failed_ranks:
        return failed_ranks[0]
    answered = command
    left = [p for p in cascade if p is not command]  # each is taken once: pids come again
    while True:
        children = [
            p
            for p in left
            if p.parent_pid == answered.pid
            and p.verdict is Verdict.FAILED_EXIT
            and 0 <= _ended_ns(answered) - _ended_ns(p) <= _ANSWER_NS
        ]
        if not children:
            return answered if answered is not command else None
        answered = children[-1]
        left.remove(answered)


def _ended_ns(process: TreeProcess) -> int:
    assert process.ended_at_ns is not None
    return process.ended_at_ns
