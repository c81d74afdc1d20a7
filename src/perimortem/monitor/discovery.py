"""Find the members of process trees.

A preloaded agent announces itself through its recorder, at once; a member without one is found among
the children of living members, once a second, or when the system announces it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.errors import MalformedInput, PerimortemError, ProcessGone
from perimortem.exits.sources import ExitWatch, open_exit_watch, open_gone_watch
from perimortem.hangs.target import TargetWatch
from perimortem.model.labels import LABELS, TITLE
from perimortem.model.process import ProcessRef, find_title
from perimortem.monitor.base import Base
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import LIVING_MAX, ProcessTree, is_dump_worker
from perimortem.monitor.turns import Steps
from perimortem.proc import find_newest_pid, list_children, read_stat, read_tracer
from perimortem.recorder import RecorderFile, recorder_path
from perimortem.recorder.sweep import read_name

_GENERATIONS_MAX = 64
_SKIPPED_MAX = 30
_RENEWED_EVERY = 15
"""Scans after which the names of all members are read again, not only those of young ones."""
_YOUNG_NS = 10_000_000_000


class Discovery:
    """Adds to one tree."""

    def __init__(
        self,
        tree: ProcessTree,
        settings: Settings,
        base: Base,
        helper_pids: Callable[[], set[int]] = set,
        list_orphans: Callable[[], list[int]] | None = None,
    ) -> None:
        """``helper_pids``: our own children that are not members; ``list_orphans``: members whose
        parents may be gone."""
        self._tree = tree
        self._settings = settings
        self._clock = base.clock
        self._reader = base.reader
        self._turns = base.turns
        self._helper_pids = helper_pids
        self._list_orphans = list_orphans
        self._known: set[ProcessRef] = set()
        self._copied: dict[ProcessRef, str] = {}
        """The title of its parent when a member with a title was first seen."""
        self._scanned_to: int | None = None
        """The newest process of the system when the last scan began."""
        self._skipped = 0
        self._renewals = 0

    def take_recorder(self, process: ProcessRef, now_ns: int) -> None:
        """A recorder that belongs to no target appeared in the run directory; is it a member's?"""
        if process in self._known or process in self._tree.roots:
            return
        try:
            recorder = RecorderFile(recorder_path(self._settings.run_dir, process), process)
        except (OSError, MalformedInput):
            return
        try:
            # A nested monitor has its own recorders, and its targets are in our tree too.
            if recorder.monitor_pid == os.getpid() or self._tree.has(recorder.monitor_pid):
                self._adopt(process, recorder.parent_pid, now_ns, recorder.process_name)
        finally:
            recorder.close()

    def scan_later(self) -> None:
        """:meth:`scan`, in turns; most scans are skipped if no process of the system is new."""
        newest = find_newest_pid()
        if newest is not None and newest == self._scanned_to and self._skipped < _SKIPPED_MAX:
            self._skipped += 1
            self._turns.take(self, self._renew_steps())
        else:
            self._skipped = 0
            self._turns.take(self, self._scan_steps(newest))

    def scan(self) -> None:
        """Find members without an agent: children of known members, and orphans.

        An orphan that has ended waits for us to reap it."""
        deque(self._scan_steps(), maxlen=0)

    def _scan_steps(self, newest: int | None = None) -> Steps:
        yield from self._scan_below(self._tree.pids())
        for pid in self.list_orphans():
            yield from self.take_orphan(pid)
        self._forget()
        self._scanned_to = newest
        yield from self._renew_steps()

    def _renew_steps(self) -> Steps:
        """Most processes execute their program and take their name soon after they began."""
        self._renewals += 1
        is_turn_of_all = self._renewals % _RENEWED_EVERY == 0
        young_ns = self._clock.monotonic_ns() - _YOUNG_NS
        for member in list(self._tree.living.values()):
            if member.is_alive and (is_turn_of_all or member.watched_since_ns >= young_ns):
                self._renew(member)
                yield True

    def _renew(self, member: Target) -> None:
        if not member.process.command_line:  # it could not be read in time
            for name, value in self._reader.read_variables(member.pid, LABELS).items():
                member.label(name, value)
        if not find_title(member.process.command_line):
            member.rename(self._reader.renew_process_info(member.process))
        else:  # it may still have that of its parent, and it may change
            found = self._reader.collect_process_info(member.ref)
            if found.command_line:
                member.rename(replace(found, started_at_ns=member.process.started_at_ns))
        self._note_title(member)

    def _note_title(self, member: Target) -> None:
        """A forked child has the title of its parent until it sets its own, or for ever."""
        title = find_title(member.process.command_line)
        if title and member.ref not in self._copied:
            parent_pid = member.parent_pid or 0
            self._copied[member.ref] = find_title(self._read_command_line(parent_pid))
        if title and title != self._copied[member.ref]:
            member.label(TITLE, title)
        else:
            member.unlabel(TITLE)

    def list_orphans(self) -> list[int]:
        """Processes that may be members that lost their parent."""
        return self._list_orphans() if self._list_orphans is not None else []

    def take_orphan(self, pid: int) -> Steps:
        """It, and what is below it."""
        if self._take(pid, None, self._clock.monotonic_ns()):
            yield from self._scan_below([pid])

    def take_new(self, pid: int, now_ns: int) -> bool:
        """The system announced that this process descends from a member."""
        return self._take(pid, None, now_ns)

    def find(self, pid: int, now_ns: int) -> Target | None:
        """The member with this pid; a process not seen before becomes one."""
        if pid not in self._tree.living and self._descends_from_ours(pid):
            self._take(pid, None, now_ns)
        return self._tree.living.get(pid)

    def clean_up(self, spared: Collection[ProcessRef]) -> None:
        """At the end: remove our recorders whose processes died unnoticed; not those of ``spared``."""
        for name in os.listdir(self._settings.run_dir):
            identity = read_name(name)
            facts = read_stat(identity[0]) if identity else None
            if identity is None or (facts and facts.start_time_ticks == identity[1]):
                continue
            if ProcessRef(*identity) in spared:
                continue
            path = self._settings.run_dir / name
            with suppress(OSError, MalformedInput):
                recorder = RecorderFile(path, ProcessRef(*identity))
                recorder.close()
                if recorder.monitor_pid == os.getpid():
                    os.unlink(path)

    def _descends_from_ours(self, pid: int) -> bool:
        for _ in range(_GENERATIONS_MAX):
            facts = read_stat(pid)
            if facts is None:
                return False
            if facts.parent_pid == os.getpid() or self._tree.has(facts.parent_pid):
                return True
            pid = facts.parent_pid
        return False

    def _scan_below(self, parents: list[int]) -> Steps:
        waiting = deque(parents)
        while waiting:
            parent = waiting.popleft()
            now_ns = self._clock.monotonic_ns()
            for _, pid in list_children([parent]):
                if self._take(pid, parent, now_ns):
                    waiting.append(pid)
                    yield True
            yield True

    def _take(self, pid: int, parent_pid: int | None, now_ns: int) -> bool:
        """``parent_pid``: None for an orphan, which we must reap even if it ended long ago."""
        facts = read_stat(pid)
        is_late = facts is not None and facts.is_dead and parent_pid is not None
        if facts is None or pid in self._tree.living or is_late:
            return False
        process = ProcessRef(pid, facts.start_time_ticks)
        parent_pid = facts.parent_pid if parent_pid is None else parent_pid
        return process not in self._known and self._adopt(process, parent_pid, now_ns, None)

    def _adopt(
        self, process: ProcessRef, parent_pid: int, now_ns: int, recorded_name: str | None
    ) -> bool:
        """``recorded_name``: the name in its recorder; None if it has none."""
        root_pids = {root.pid for root in self._tree.roots.values()}
        if process.pid in {1, os.getpid()} | root_pids | self._helper_pids():
            return False
        self._known.add(process)
        if self._is_clone(process.pid):
            return False
        if len(self._tree.living) >= LIVING_MAX:
            self._leave_unwatched(process)
            return False
        exit_watch: ExitWatch
        is_met_dead = False
        try:
            exit_watch = open_exit_watch(process, is_child=False)
        except ProcessGone:
            if recorded_name is None:  # its recorder may be about to appear, and has more
                self._known.discard(process)
                return False
            exit_watch = open_gone_watch(process)
            is_met_dead = True
        except PerimortemError:
            self._leave_unwatched(process)
            return False
        met = self._reader.meet(process, LABELS)
        info = met.info
        if not info.command_line and recorded_name:
            info = replace(info, name=recorded_name)
        policy = self._settings.policy
        progress = Progress(process.pid, now_ns, interval_ns=policy.progress_interval_ns)
        state = ProcessStateBeat(process, now_ns, judges_stops=False, is_still=progress.is_still)
        member = Target(
            info,
            exit_watch,
            RecorderLink(self._settings.run_dir, process),
            TargetWatch(policy, now_ns),
            now_ns,
            sources=[progress, state],
            parent_pid=parent_pid,
            is_met_dead=is_met_dead,
            is_command=False,
            labels=met.variables,
        )
        self._tree.add_member(member)
        self._note_title(member)
        return True

    def _is_clone(self, pid: int) -> bool:
        """The clone that a dump worker makes for a snapshot: the worker traces it from birth."""
        tracer = read_tracer(pid)
        if tracer is None:
            return False
        return tracer in self._helper_pids() or is_dump_worker(self._read_command_line(tracer))

    def _read_command_line(self, pid: int) -> tuple[str, ...]:
        facts = read_stat(pid)
        if facts is None:
            return ()
        process = ProcessRef(pid, facts.start_time_ticks)
        return self._reader.collect_process_info(process).command_line

    def _leave_unwatched(self, process: ProcessRef) -> None:
        """Counted; its recorder, which nothing will read, is removed now."""
        self._tree.add_unwatched()
        with suppress(OSError):
            os.unlink(recorder_path(self._settings.run_dir, process))

    def _forget(self) -> None:
        """A (pid, start time) pair never recurs, so long-gone processes can be forgotten."""
        if len(self._known) > 8 * LIVING_MAX:
            self._known = {target.ref for target in self._tree.living.values()}
        self._copied = {
            ref: title for ref, title in self._copied.items() if ref.pid in self._tree.living
        }
