"""Put processes that already run under watch."""

from __future__ import annotations

import os
from contextlib import suppress

from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_exit_watch
from perimortem.hangs.target import TargetWatch
from perimortem.model.labels import LABELS
from perimortem.model.process import ProcessRef
from perimortem.monitor.base import Base
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.find import Wanted
from perimortem.monitor.listener import WatchListener
from perimortem.monitor.platform import open_observers
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.recorder_list import read_monitor_pid
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import find_process

OBSERVED_MAX = 100
"""Targets beyond this number are watched by their ends and their own heartbeats only."""


def attach(
    process: ProcessRef,
    base: Base,
    settings: Settings,
    beat_from: tuple[str, ...] = (),
    *,
    is_observed: bool,
    owner_pid: int,
) -> Target:
    """A target that is not our child; ``owner_pid``: of the monitor whose incident it is, or 0.

    Raises ProcessGone or AccessDenied if it cannot be held."""
    now_ns = base.clock.monotonic_ns()
    met = base.reader.meet(process, LABELS)
    return Target(
        met.info,
        open_exit_watch(process, is_child=False),
        RecorderLink(settings.run_dir, process),
        TargetWatch(settings.policy, now_ns),
        now_ns,
        sources=open_observers(
            process, beat_from, now_ns, base.reader, settings.policy, is_observed=is_observed
        ),
        labels=met.variables,
        owner_pid=owner_pid,
    )


class Attacher:
    """Attaches the processes that `watch` was asked for, now and as they appear."""

    def __init__(
        self,
        base: Base,
        tree: ProcessTree,
        discovery: Discovery,
        wanted: Wanted,
        settings: Settings,
        listener: WatchListener,
    ) -> None:
        self._base = base
        self._tree = tree
        self._discovery = discovery
        self._wanted = wanted
        self._settings = settings
        self._listener = listener

    def attach_all(self, pids: list[int]) -> None:
        """For names and units, all that can be held; for pids, every one."""
        is_small = len(pids) <= OBSERVED_MAX
        refusal: PerimortemError | None = None
        for pid in pids:
            try:
                self._attach(find_process(pid), is_observed=is_small)
            except PerimortemError as error:
                if not self._wanted.may_come:
                    raise
                refusal = error
        if refusal is not None and not self._tree.roots:
            raise refusal

    def scan(self, _now_ns: int) -> None:
        """New processes that match, and children of watched ones."""
        for pid in self._wanted.find() if self._wanted.may_come else ():
            with suppress(PerimortemError):
                process = find_process(pid)
                if process not in self._tree.roots and pid not in self._tree.living:
                    self._attach(process, is_observed=len(self._tree.roots) < OBSERVED_MAX)
        self._discovery.scan_later()

    def _attach(self, process: ProcessRef, *, is_observed: bool) -> None:
        target = attach(
            process,
            self._base,
            self._settings,
            self._settings.beat_from,
            is_observed=is_observed,
            owner_pid=self._choose_owner(process),
        )
        self._tree.add_root(target)
        self._listener.on_attach(target.process, target.sources, target.recorder.open())

    def _choose_owner(self, process: ProcessRef) -> int:
        """If we are killed, the next monitor reports what a recorder without a monitor has: by the same
        uid. The incident of another living monitor is not ours."""
        return 0 if read_monitor_pid(self._settings.run_dir, process) == 0 else os.getpid()
