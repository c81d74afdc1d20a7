"""The process tree of one command: members are found, watched and counted; the dead are remembered.

An agent that came along says so by its recorder, at once; what bears no agent is found among the
children of the living, once a second. Short-lived processes pass by the thousand: a member takes a
session while it lives, and a line afterwards if it has anything to tell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from perimortem.analyze.first_death import VIOLENT, find_first_death
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.errors import MalformedInput, PerimortemError, ProcessGone
from perimortem.exits.sources import ExitWatch, open_exit_watch, open_gone_watch, remember_ends
from perimortem.model.exits import ExitSource
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.model.tree import Tree, TreeProcess
from perimortem.monitor.dump_workers import WORKER
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.proc import (
    collect_process_info,
    is_waiting_for_child,
    list_children,
    read_stat,
    read_tracer,
    read_variables,
    renew_process_info,
)
from perimortem.recorder import RecorderFile, recorder_path
from perimortem.watch.target import TargetWatch

LIVING_MAX = 2000
"""Members watched at once; further ones are counted. A fork bomb is told, not followed."""
_REMEMBERED_MAX = 1000
_INCIDENTS_MAX = 100
"""Members with an incident of their own in one watch; further ones stand in the report only."""
_GENERATIONS_MAX = 64
LABELS = ("RANK", "LOCAL_RANK", "PYTEST_XDIST_WORKER")
_RECORDER_NAME = re.compile(r"([0-9]{1,10})-([0-9]{1,20})\.rec")


class ProcessTree:
    """Members are all but the commands themselves."""

    def __init__(
        self,
        settings: Settings,
        add: Callable[[Session], None],
        commands: Callable[[], list[Session]],
        helper_pids: Callable[[], set[int]] = set,
        list_orphans: Callable[[], list[int]] | None = None,
    ) -> None:
        """``add``: watch a session; ``commands``: those whose children are members; ``helper_pids``:
        children of ours that are none; ``list_orphans``: members whose parents may be gone."""
        self.process_count = 0
        self.unwatched_count = 0
        self.living: dict[int, Session] = {}
        self._settings = settings
        self._add = add
        self._commands = commands
        self._helper_pids = helper_pids
        self._ended: list[TreeProcess] = []
        self._known: set[ProcessRef] = set()
        self._incident_count = 0
        self._list_orphans = list_orphans
        remember_ends()  # short-lived members end before we can hold them

    def take_recorder(self, name: str, now_ns: int) -> None:
        """A recorder of this name has come into the run directory; is it one of ours?"""
        match = _RECORDER_NAME.fullmatch(name)
        if match is None:
            return
        process = ProcessRef(int(match[1]), int(match[2]))
        if process in self._known or any(s.target.ref == process for s in self._commands()):
            return
        try:
            recorder = RecorderFile(self._settings.run_dir / name, process)
        except (OSError, MalformedInput):
            return
        try:
            # A monitor below us has recorders of its own, and its targets are in our tree, too.
            if recorder.monitor_pid in (os.getpid(), *self.pids()):
                self._adopt(process, recorder.parent_pid, now_ns, recorder.process_name)
        finally:
            recorder.close()

    def scan(self, now_ns: int) -> None:
        """Find members that bear no agent: children of those that are known, and orphans.

        An orphan that has ended waits for us to take its status."""
        self._scan_below(self.pids(), now_ns)
        self.take_orphans(now_ns)
        self._forget()
        for session in self.living.values():
            session.target = renew_process_info(session.target)

    def take_orphans(self, now_ns: int) -> None:
        """Whoever lost his parent."""
        if self._list_orphans is not None:
            orphans = self._list_orphans()
            found = [pid for pid in orphans if self._take(pid, None, now_ns)]
            self._scan_below(found, now_ns)

    def take_new(self, pid: int, now_ns: int) -> bool:
        """The system says that this process has come from one of ours."""
        return self._take(pid, None, now_ns)

    def find(self, pid: int, now_ns: int) -> Session | None:
        """The member with this pid; one that was not seen yet becomes one."""
        if pid not in self.living and self._descends_from_ours(pid):
            self._take(pid, None, now_ns)
        return self.living.get(pid)

    def _descends_from_ours(self, pid: int) -> bool:
        known = {os.getpid(), *self.pids()}
        for _ in range(_GENERATIONS_MAX):
            facts = read_stat(pid)
            if facts is None:
                return False
            if facts.parent_pid in known:
                return True
            pid = facts.parent_pid
        return False

    def _scan_below(self, waiting: list[int], now_ns: int) -> None:
        while waiting:
            children = list_children(waiting)
            waiting = [pid for parent, pid in children if self._take(pid, parent, now_ns)]

    def _take(self, pid: int, parent_pid: int | None, now_ns: int) -> bool:
        """``parent_pid``: None for an orphan, whose end we must take even if it was long ago."""
        facts = read_stat(pid)
        if facts is None or pid in self.living or (facts.is_dead and parent_pid is not None):
            return False
        process = ProcessRef(pid, facts.start_time_ticks)
        parent_pid = facts.parent_pid if parent_pid is None else parent_pid
        return process not in self._known and self._adopt(process, parent_pid, now_ns, None)

    def note_end(self, session: Session, incident: Incident) -> None:
        """A member's verdict."""
        self.living.pop(session.pid, None)
        if _is_helper(session):
            self.process_count -= 1
            return
        if is_telling(incident) or len(self._ended) < _REMEMBERED_MAX:
            self._ended.append(describe_process(session, incident))
        if len(self._ended) > 2 * _REMEMBERED_MAX:
            telling = [p for p in self._ended if p.verdict in VIOLENT]
            self._ended = (telling + [p for p in self._ended if p.verdict not in VIOLENT])[
                :_REMEMBERED_MAX
            ]

    def deserves_incident(self, session: Session, incident: Incident) -> bool:
        """Whether a member's end goes into the store by itself."""
        if (
            _is_helper(session)
            or not is_telling(incident)
            or self._incident_count >= _INCIDENTS_MAX
        ):
            return False
        self._incident_count += 1
        return True

    def summarize(self, command: TreeProcess, open_members: list[TreeProcess]) -> Tree:
        """The tree as the report shows it."""
        return Tree(
            processes=tuple(
                sorted((*self._ended, *open_members), key=lambda p: (p.started_at_ns, p.pid))
            ),
            process_count=1 + self.process_count,
            unwatched_count=self.unwatched_count,
            first_death=find_first_death(command, self._ended),
        )

    def pids(self) -> list[int]:
        """Everything that lives and surely is what we think, commands first."""
        sessions = (*self._commands(), *self.living.values())
        return [session.pid for session in sessions if session.ended_ns is None]

    def culprit(self, session: Session) -> Session:
        """Whom to look at when nothing is heard: a wrapper that waits for its only child is not it."""
        seen = {session.pid}
        while is_waiting_for_child(session.pid):
            children = [s for s in self.living.values() if s.parent_pid == session.pid]
            if len(children) != 1 or children[0].pid in seen or children[0].ended_ns is not None:
                break
            session = children[0]
            seen.add(session.pid)
        return session

    def _adopt(
        self, process: ProcessRef, parent_pid: int, now_ns: int, recorded_name: str | None
    ) -> bool:
        """``recorded_name``: as its recorder has it; None when it has none."""
        commands = {session.pid for session in self._commands()}
        if process.pid in {1, os.getpid()} | commands | self._helper_pids():
            return False
        if self._is_clone(process.pid):
            self._known.add(process)
            return False
        self._known.add(process)
        self.process_count += 1
        if len(self.living) >= LIVING_MAX:
            self._leave_unwatched(process)
            return False
        exit_watch: ExitWatch
        is_met_dead = False
        try:
            exit_watch = open_exit_watch(process, is_child=False)
        except ProcessGone:
            if recorded_name is None:  # its recorder may be on its way, and with it another word
                self._known.discard(process)
                self.process_count -= 1
                return False
            exit_watch = open_gone_watch(process)
            is_met_dead = True
        except PerimortemError:
            self._leave_unwatched(process)
            return False
        target = collect_process_info(process)
        if not target.command_line and recorded_name:
            target = replace(target, name=recorded_name)
        session = Session(
            target=target,
            exit_watch=exit_watch,
            recorder=RecorderLink(self._settings.run_dir, process),
            watch=TargetWatch(self._settings.policy, now_ns),
            watched_since_ns=now_ns,
            sources=[
                ProcessStateBeat(process, now_ns, judges_stops=False),
                Progress(process.pid, now_ns),
            ],
            parent_pid=parent_pid,
            is_met_dead=is_met_dead,
            is_command=False,
            labels=read_variables(process.pid, LABELS),
        )
        self.living[process.pid] = session
        self._add(session)
        return True

    def _is_clone(self, pid: int) -> bool:
        """The clone that a dump worker takes a snapshot from: a worker traces it from its birth on."""
        tracer = read_tracer(pid)
        if tracer is None:
            return False
        return tracer in self._helper_pids() or _is_worker(_read_command_line(tracer))

    def clean_up(self) -> None:
        """At the end: recorders of ours whose processes died unheard of."""
        for name in os.listdir(self._settings.run_dir):
            match = _RECORDER_NAME.fullmatch(name)
            facts = read_stat(int(match[1])) if match else None
            if match is None or (facts and facts.start_time_ticks == int(match[2])):
                continue
            path = self._settings.run_dir / name
            with suppress(OSError, MalformedInput):
                recorder = RecorderFile(path, ProcessRef(int(match[1]), int(match[2])))
                recorder.close()
                if recorder.monitor_pid == os.getpid():
                    os.unlink(path)

    def _leave_unwatched(self, process: ProcessRef) -> None:
        """Counted; its recorder, which nobody will read, is taken away now."""
        self.unwatched_count += 1
        with suppress(OSError):
            os.unlink(recorder_path(self._settings.run_dir, process))

    def _forget(self) -> None:
        """A pid with its start time comes once; what is long gone need not be known any more."""
        if len(self._known) > 8 * LIVING_MAX:
            self._known = {session.target.ref for session in self.living.values()}


def _is_helper(session: Session) -> bool:
    """Of a monitor below us: it ends its dump workers as it likes."""
    return _is_worker(session.target.command_line)


def _is_worker(command_line: tuple[str, ...]) -> bool:
    end = os.path.join(*WORKER.parts[-3:])
    return any(argument.endswith(end) for argument in command_line)


def _read_command_line(pid: int) -> tuple[str, ...]:
    facts = read_stat(pid)
    if facts is None:
        return ()
    return collect_process_info(ProcessRef(pid, facts.start_time_ticks)).command_line


def is_telling(incident: Incident) -> bool:
    """An end that somebody will ask about; children that fail are their parents' business."""
    return incident.verdict in VIOLENT or bool(incident.hangs)


def describe_process(session: Session, incident: Incident) -> TreeProcess:
    """One line of the tree."""
    return TreeProcess(
        pid=session.pid,
        parent_pid=session.parent_pid,
        name=session.target.name,
        command_line=session.target.command_line,
        started_at_ns=incident.started_at_ns,
        ended_at_ns=incident.ended_at_ns,
        exit=incident.exit,
        verdict=incident.verdict if session.end is not None else None,
        where=incident.where,
        labels=incident.labels,
        number=session.number,
        ended_ns=session.ended_ns,
        is_reaped_by_us=incident.exit.source is ExitSource.WAITID,
        is_ended_by_us=session.ended_by_policy,
        is_met_dead=session.is_met_dead,
    )
