"""How `run` reports ends: members' ends as they happen, the command's own last, with the tree."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from perimortem.analysis.first_death import VIOLENT
from perimortem.model.incident import Incident
from perimortem.model.last_words import SaidKind
from perimortem.model.process import ProcessRef
from perimortem.model.verdict import Verdict
from perimortem.monitor.base import Base
from perimortem.monitor.conclude import Concluder, derive_link_failure
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.dumps import Dumps, Taken
from perimortem.monitor.engine import Engine
from perimortem.monitor.incident_store import IncidentStore
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.listener import RunListener
from perimortem.monitor.platform import Command
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree, describe_process
from perimortem.store.answers import Reservation

_SETTLE_NS = 200_000_000
"""After a bad end of the command: grace period for processes that end as a consequence. Arbitrary."""
ENDED_BY_POLICY_STATUS = 124
"""As timeout(1) reports that it ended a command."""
WATCH_INTERRUPTED_STATUS = 130
"""As shells report Ctrl-C."""


@dataclass(frozen=True)
class RunResult:
    """The outcome of a command."""

    incident: Incident
    exit_status: int
    """Our own exit status: the target's code, 128+n for signal n, 124 when --on-hang ended it."""


class CommandReporter:
    """For one command."""

    def __init__(
        self,
        root: Target,
        command: Command,
        settings: Settings,
        base: Base,
        tree: ProcessTree,
        discovery: Discovery,
        store: IncidentStore,
        listener: RunListener,
    ) -> None:
        self._root = root
        self._command = command
        self._settings = settings
        self._base = base
        self._tree = tree
        self._discovery = discovery
        self._store = store
        self._listener = listener
        self._incident: Incident | None = None
        self._settle_until_ns = 0
        self._has_ended_by_policy = False
        self._exit_dump: Reservation | None = None
        self._unkept: set[ProcessRef] = set()
        """Their reports were written nowhere: their recorders are left for the next monitor."""

    # Family

    def find_culprit(self, target: Target) -> Target:
        """The process that the command announced as its main one (MAINPID), else from the tree."""
        if not self._settings.follow:
            return target
        announced = self._tree.living.get(self._command.heartbeats.main_pid or 0)
        return announced or self._tree.find_culprit(target)

    def list_tree(self, target: Target) -> list[Target]:
        return self._tree.list_tree(target) if self._settings.follow else [target]

    def list_living(self) -> list[Target]:
        """The command and its members that are still alive."""
        members = [self._root, *self._tree.living.values()]
        return [target for target in members if target.is_alive]

    # Ends

    def on_exit(self, target: Target, now_ns: int) -> None:
        if target is self._root:
            # What is ready by now came before the end: the signal that caused it, for instance.
            for call in self._base.selector.wait(0):
                call(now_ns)
            if self._settings.follow:
                self._discovery.scan()  # its orphans are our children by now
            self._command.heartbeats.take_last_words(now_ns, set(self._tree.pids()))

    def complete_end(self, target: Target, incident: Incident) -> tuple[Incident, bool]:
        if target is self._root:
            return self._complete_root(target, incident), True
        is_stored = target.is_recorded or self._tree.deserves_incident(target, incident)
        return add_jvm_report(incident), is_stored

    def report_end(self, target: Target, incident: Incident) -> None:
        self._has_ended_by_policy |= target.is_ended_by_policy
        if not target.kept.is_kept:
            self._unkept.add(target.ref)
        if target is self._root:
            self._report_root(target, incident)
            return
        if target.is_recorded:
            self._listener.on_end(target, incident)
        self._tree.note_end(target, incident)

    def report_release(self, target: Target, incident: Incident) -> None:
        """The user ended the watch."""
        if target is self._root:
            self._incident = incident
            self._store.record(target, incident)

    def is_done(self) -> bool:
        """The command, its announced main process, and everything that ends with them have ended."""
        if self._incident is None or any(not t.is_alive for t in self._base.targets):
            return False
        if not self._tree.living:
            return True
        main_pid = self._command.heartbeats.main_pid
        if self._settings.wait_for_all or main_pid in self._tree.living:
            return False
        return self._base.clock.monotonic_ns() >= self._settle_until_ns

    def finish(self, engine: Engine, concluder: Concluder) -> Incident:
        """The command's incident, with the final state of the tree."""
        left = []
        if self._settings.follow:
            self._discovery.scan()
            for member in self._tree.living.values():
                left.append(describe_process(member, concluder.conclude(member)))
        engine.release_all()
        incident = self._incident
        assert incident is not None
        if self._settings.follow:
            with suppress(OSError):
                self._discovery.clean_up(self._unkept)
            tree = self._tree.summarize(describe_process(self._root, incident), left)
            incident = replace(incident, tree=tree)
            self._store.record(self._root, incident)
        return incident

    def conclude(self, incident: Incident) -> RunResult:
        """The command's incident with our exit status."""
        return RunResult(incident, self._exit_status(incident))

    def _exit_status(self, incident: Incident) -> int:
        if self._has_ended_by_policy:
            return ENDED_BY_POLICY_STATUS
        end = incident.exit
        if self._root.end is None:
            return WATCH_INTERRUPTED_STATUS
        if end.code is not None:
            return end.code
        return 128 + end.signal if end.signal is not None else 125

    def _complete_root(self, root: Target, incident: Incident) -> Incident:
        if incident.verdict is Verdict.CLEAN_EXIT and self._exit_dump is not None:
            incident = self._drop_exit_dump(root, incident)
        heartbeats = self._command.heartbeats
        errors = (*incident.soft_errors, *heartbeats.soft_errors())
        incident = replace(incident, soft_errors=errors)
        if incident.verdict is Verdict.CLEAN_EXIT:
            return incident
        try:
            return self._look_behind(incident)
        except (OSError, ImportError) as error:  # no descriptor is left, for instance
            why = f"what it printed last was not read: {error}"
            return replace(incident, soft_errors=(*errors, why))

    def _look_behind(self, incident: Incident) -> Incident:
        """With what it said, or what the dynamic linker lacked for it."""
        words = self._command.heartbeats.read_last_words()
        incident = add_jvm_report(replace(incident, last_words=words))
        missing = self._command.find_link_failure(incident.exit) if _may_lack(incident) else None
        return incident if missing is None else derive_link_failure(incident, missing)

    def _report_root(self, root: Target, incident: Incident) -> None:
        self._incident = incident
        self._tree.remove_root(root)
        if incident.verdict in VIOLENT | {Verdict.FAILED_EXIT}:
            self._settle_until_ns = self._base.clock.monotonic_ns() + _SETTLE_NS
            self._base.timers.call_later(self._settle_until_ns, lambda _now_ns: None)

    # --capture-exit

    def begin_exit_dump(self, dumps: Dumps) -> None:
        """Have the command dumped at its exit, if requested."""
        if not self._settings.captures_exit or self._settings.dump is None:
            return
        root = self._root

        def done(taken: Taken) -> None:
            taken.note_in(root)
            self._base.targets.post(root, Event.EXIT_DUMPED)

        root.expect_exit_dump()
        dumps.take_at_exit(root, self._note_exit_dump, done)

    def _note_exit_dump(self, reservation: Reservation) -> None:
        self._exit_dump = reservation

    def _drop_exit_dump(self, root: Target, incident: Incident) -> Incident:
        """Discards the dump of a clean exit."""
        for dump in root.drop_dumps():
            if dump.path is not None:
                with suppress(OSError):
                    Path(dump.path).unlink()
        assert self._exit_dump is not None
        self._store.forget_dump(self._exit_dump)
        return replace(incident, dumps=())


def add_jvm_report(incident: Incident) -> Incident:
    """With the error file of a Java VM, if it crashed and has said nothing else."""
    is_mute = incident.last_words is None or incident.last_words.said is None
    if incident.verdict is not Verdict.CRASH or incident.target is None or not is_mute:
        return incident
    try:
        from perimortem.monitor.jvm_report import read_jvm_report  # rarely

        words = read_jvm_report(incident.target.ref.pid)
    except (OSError, ImportError):  # no descriptor is left, for instance
        return incident
    return incident if words is None else replace(incident, last_words=words)


def _may_lack(incident: Incident) -> bool:
    """It failed without a word, as a program does that the dynamic linker ends."""
    if incident.verdict not in (Verdict.SILENT_CRASH, Verdict.FAILED_EXIT):
        return False
    said = incident.last_words.said if incident.last_words is not None else None
    is_linker = said is not None and said.kind is SaidKind.LINKER
    return is_linker or incident.silent is not False
