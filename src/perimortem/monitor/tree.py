"""The process trees of a watch: their members, how many there were, and how they ended.

``discovery`` finds the members. Thousands of short-lived processes may pass: a member takes a target
while it lives, and a line afterwards if there is anything to report.
"""

from __future__ import annotations

import os
from pathlib import PurePath

from perimortem.analysis.first_death import VIOLENT, find_first_death
from perimortem.model.exits import ExitSource
from perimortem.model.fact import FactCode
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.model.tree import Tree, TreeProcess
from perimortem.model.verdict import Verdict
from perimortem.monitor.dump_jobs import WORKER
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets
from perimortem.proc import is_waiting_for_child

LIVING_MAX = 2000
"""Members watched at once; more are only counted. A fork bomb is reported, not followed."""
_REMEMBERED_MAX = 1000
_INCIDENTS_MAX = 100
"""Members with a separate incident in one watch; more appear in the report only."""


class ProcessTree:
    """The roots are the requested processes; members descend from them."""

    def __init__(self, targets: Targets) -> None:
        self.process_count = 0
        """Members so far, watched or not."""
        self.unwatched_count = 0
        self.roots: dict[ProcessRef, Target] = {}
        """Members not yet reported."""
        self.living: dict[int, Target] = {}
        """Members by pid."""
        self._targets = targets
        self._ended: list[TreeProcess] = []
        self._incident_count = 0

    def add_root(self, target: Target) -> None:
        """Watch a requested process."""
        self.roots[target.ref] = target
        self._targets.add(target)

    def remove_root(self, target: Target) -> None:
        """It was reported."""
        self.roots.pop(target.ref, None)

    def add_member(self, target: Target) -> None:
        """Watch a process that descends from a root."""
        self.process_count += 1
        self.living[target.pid] = target
        self._targets.add(target)

    def add_unwatched(self) -> None:
        """Counts one more, which is not watched."""
        self.process_count += 1
        self.unwatched_count += 1

    def pids(self) -> list[int]:
        """All living members whose identity is certain, roots first."""
        return [t.pid for t in (*self.roots.values(), *self.living.values()) if t.is_alive]

    def has(self, pid: int) -> bool:
        """It is one of :meth:`pids`."""
        members = (self.living.get(pid), *self.roots.values())
        return any(t is not None and t.pid == pid and t.is_alive for t in members)

    def note_end(self, target: Target, incident: Incident) -> None:
        """A member's verdict."""
        self.living.pop(target.pid, None)
        if is_dump_worker(target.process.command_line):
            self.process_count -= 1
            return
        if is_significant(incident) or len(self._ended) < _REMEMBERED_MAX:
            self._ended.append(describe_process(target, incident))
        if len(self._ended) > 2 * _REMEMBERED_MAX:
            violent = [p for p in self._ended if p.verdict in VIOLENT]
            self._ended = (violent + [p for p in self._ended if p.verdict not in VIOLENT])[
                :_REMEMBERED_MAX
            ]

    def deserves_incident(self, target: Target, incident: Incident) -> bool:
        """Whether a member's end is stored as a separate incident."""
        if (
            is_dump_worker(target.process.command_line)
            or not is_significant(incident)
            or self._incident_count >= _INCIDENTS_MAX
        ):
            return False
        self._incident_count += 1
        return True

    def summarize(self, root: TreeProcess, still_living: list[TreeProcess]) -> Tree:
        """The tree as the report shows it."""
        return Tree(
            processes=tuple(
                sorted((*self._ended, *still_living), key=lambda p: (p.started_at_ns, p.pid))
            ),
            process_count=1 + self.process_count,
            unwatched_count=self.unwatched_count,
            first_death=find_first_death(root, self._ended),
        )

    # Family

    def find_culprit(self, target: Target) -> Target:
        """The process to examine when ``target`` is silent: a wrapper only waits for its child."""
        seen = {target.pid}
        while is_waiting_for_child(target.pid):
            children = [t for t in self.living.values() if t.parent_pid == target.pid]
            if len(children) != 1 or children[0].pid in seen or not children[0].is_alive:
                break
            target = children[0]
            seen.add(target.pid)
        return target

    def list_tree(self, target: Target) -> list[Target]:
        """All living processes below the root that ``target`` descends from, and that root."""
        root = self._find_root(target)
        members = (*self.roots.values(), *self.living.values())
        return [t for t in members if t.is_alive and self._find_root(t) is root]

    def _find_root(self, target: Target) -> Target:
        """The root above it; if there is only one root, every member is its, even when reparented."""
        if len(self.roots) == 1:
            return next(iter(self.roots.values()))
        by_pid = {t.pid: t for t in (*self.living.values(), *self.roots.values())}
        seen = {target.pid}
        while target.ref not in self.roots and target.parent_pid in by_pid:
            target = by_pid[target.parent_pid]
            if target.pid in seen:
                break
            seen.add(target.pid)
        return target


def is_dump_worker(command_line: tuple[str, ...]) -> bool:
    """Belongs to a nested monitor, which ends its dump workers as it likes."""
    end = os.path.join(*PurePath(WORKER).parts[-3:])
    return any(argument.endswith(end) for argument in command_line)


def is_significant(incident: Incident) -> bool:
    """An end that deserves its own report; children that fail are their parents' concern."""
    return incident.verdict in VIOLENT or bool(incident.hangs)


def describe_process(target: Target, incident: Incident) -> TreeProcess:
    """One line of the tree."""
    return TreeProcess(
        pid=target.pid,
        parent_pid=target.parent_pid,
        name=target.process.name,
        command_line=target.process.command_line,
        started_at_ns=incident.started_at_ns,
        ended_at_ns=incident.ended_at_ns,
        exit=incident.exit,
        verdict=incident.verdict if target.end is not None else None,
        where=incident.where,
        labels=incident.labels,
        number=target.kept.number,
        ended_ns=target.ended_ns,
        is_reaped_by_us=incident.exit.source is ExitSource.WAITID,
        is_ended_by_us=target.is_ended_by_policy,
        is_met_dead=target.is_met_dead,
        why=_find_why(incident),
    )


def _find_why(incident: Incident) -> str:
    if incident.verdict is not Verdict.OOM_KILL:
        return ""
    facts = (fact for fact in incident.evidence if fact.code is FactCode.CGROUP_OOM)
    return next((str(fact.values["text"]) for fact in facts), "")
