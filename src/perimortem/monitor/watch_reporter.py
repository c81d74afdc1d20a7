"""How `watch` reports ends: each is recorded and reported when it happens."""

from __future__ import annotations

from dataclasses import replace

from perimortem.model.incident import Incident
from perimortem.model.verdict import Verdict
from perimortem.monitor.listener import WatchListener
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree

_CRASHES = (Verdict.CRASH, Verdict.SILENT_CRASH)
_WHY_NO_DUMP = (
    "no dump: from outside a crash is seen only once the process is gone; to get one, start it with "
    "`perimortem run`, have it load libperimortem, or let the system collect crashes (perimortem "
    "system install)"
)


class WatchReporter:
    """For one watch."""

    def __init__(self, tree: ProcessTree, listener: WatchListener) -> None:
        self._tree = tree
        self._listener = listener
        self.ended = 0
        self.left = 0

    def on_exit(self, target: Target, now_ns: int) -> None:
        return

    def complete_end(self, target: Target, incident: Incident) -> tuple[Incident, bool]:
        if incident.verdict in _CRASHES and target.crash is None and not incident.dumps:
            incident = replace(incident, soft_errors=(*incident.soft_errors, _WHY_NO_DUMP))
        is_stored = (
            target.is_command
            or target.is_recorded
            or self._tree.deserves_incident(target, incident)
        )
        return incident, is_stored

    def report_end(self, target: Target, incident: Incident) -> None:
        if target.is_command:
            self.ended += 1
            self._tree.remove_root(target)
        else:
            self._tree.note_end(target, incident)
        if target.is_recorded:
            self._listener.on_end(target, incident)

    def report_release(self, target: Target, incident: Incident) -> None:
        if target.is_command or target.open_hang is not None:
            self.left += 1
            self._listener.on_watch_end(target, incident)
