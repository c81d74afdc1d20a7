"""Which process of a tree died first, and which deaths followed from it? Pure.

Deaths belong to one cascade if no more than a minute separates consecutive ones. In the cascade that
ends with the command, the first violent death counts (a crash, a kill, a hang that was ended). If there
is none, a failed exit does, but only one to which a parent visibly reacted: `grep` reports "not found"
by a status of 1, and shells go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from perimortem.exits.decode import describe_exit_shortly
from perimortem.model.labels import find_rank
from perimortem.model.tree import FirstDeath, Followers, TreeProcess
from perimortem.model.verdict import Verdict

CASCADE_GAP_NS = 60_000_000_000
"""torchrun gives its other workers 30 s to end. Arbitrary beyond that."""
_ANSWER_NS = 1_000_000_000
"""A parent that fails this soon after its child is assumed to have reacted to it. Arbitrary."""

VIOLENT = frozenset(
    {Verdict.CRASH, Verdict.SILENT_CRASH, Verdict.KILLED, Verdict.OOM_KILL, Verdict.HANG}
)
_UNWANTED = VIOLENT | {Verdict.FAILED_EXIT, Verdict.STOPPED}


def find_first_death(command: TreeProcess, others: Iterable[TreeProcess]) -> FirstDeath | None:
    """None if the command ended well, or if no process died before it."""
    if command.ended_ns is None or command.verdict not in VIOLENT | {Verdict.FAILED_EXIT}:
        return None
    members = [p for p in others if p.ended_ns is not None and p.verdict in _UNWANTED]
    ended = _order_ends(command, members)
    cascade = _find_cascade(command, members, ended)
    first = next((p for p in cascade if p.verdict in VIOLENT and not p.is_ended_by_us), None)
    if first is None:
        first = _find_answered_failure(command, cascade, ended)
    if first is None:
        return None
    followed = cascade[cascade.index(first) + 1 :]
    if not followed:
        return None
    counted = Counter(describe_exit_shortly(p.exit) for p in followed if p is not command)
    return FirstDeath(
        process=first,
        followers=tuple(Followers(text, count) for text, count in counted.most_common()),
        within_ns=ended[id(followed[-1])] - ended[id(first)],
    )


def _order_ends(command: TreeProcess, members: list[TreeProcess]) -> dict[int, int]:
    """When each ended, by identity. A process reaped by its parent ended before the parent did, whenever
    we noticed; so did one that was dead when we first saw it."""
    assert command.ended_ns is not None
    ended = {id(p): p.ended_ns or 0 for p in (command, *members)}
    for process in members:
        if process.is_met_dead:
            ended[id(process)] = min(ended[id(process)], command.ended_ns)
        if process.parent_pid != command.pid:
            continue
        if not process.is_reaped_by_us:
            ended[id(process)] = min(ended[id(process)], command.ended_ns)
        elif ended[id(process)] == command.ended_ns:
            ended[id(process)] += 1  # noticed together: its parent was not there to reap it
    return ended


def _find_cascade(
    command: TreeProcess, members: list[TreeProcess], ended: dict[int, int]
) -> list[TreeProcess]:
    """Unwanted ends in chronological order, without a gap up to the command's own.

    Of those noticed at the same moment the order is not known: a violent one comes first."""
    ends = sorted(
        [*members, command], key=lambda p: (ended[id(p)], p is command, p.verdict not in VIOLENT)
    )
    start = ends.index(command)
    while start > 0 and ended[id(ends[start])] - ended[id(ends[start - 1])] <= CASCADE_GAP_NS:
        start -= 1
    return ends[start:]


def _find_answered_failure(
    command: TreeProcess, cascade: list[TreeProcess], ended: dict[int, int]
) -> TreeProcess | None:
    """Down from the command: the child whose failure its parent reacted to; or one rank among ranks."""
    ranks = [p for p in cascade if find_rank(dict(p.labels))]
    failed_ranks = [p for p in ranks if p.verdict is Verdict.FAILED_EXIT]
    if len(ranks) > 1 and failed_ranks:
        return failed_ranks[0]
    answered = command
    left = [p for p in cascade if p is not command]  # by identity, since pids are reused
    while True:
        children = [
            p
            for p in left
            if p.parent_pid == answered.pid
            and p.verdict is Verdict.FAILED_EXIT
            and 0 <= ended[id(answered)] - ended[id(p)] <= _ANSWER_NS
        ]
        if not children:
            return answered if answered is not command else None
        answered = children[-1]
        left.remove(answered)
