"""The notifications that a front end gets, as things happen."""

from __future__ import annotations

from typing import Protocol

from perimortem.beats.source import BeatSource
from perimortem.hangs.policy import WatchPolicy
from perimortem.model.fact import Fact
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo
from perimortem.monitor.interrupts import InterruptListener
from perimortem.monitor.preload import Preload
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets


class Listener(Protocol):
    """Every call must return quickly: the watch is blocked meanwhile."""

    status_interval_ns: int | None
    """How often :meth:`on_tick` is called; None: never."""

    def on_hang(self, target: Target, incident: Incident) -> None:
        """A hang was detected; the incident is what is known so far."""

    def on_hang_examined(self, target: Target, incident: Incident) -> None:
        """Its dump and stacks are available."""

    def on_recovery(self, target: Target) -> None:
        """The hang is over."""

    def on_ranks(self, text: str) -> None:
        """All ranks of a job hang; ``text``: where each of them stands."""

    def on_quiet(self, target: Target, fact: Fact) -> None:
        """Some of its threads probably do not continue. Once for these threads."""

    def on_end(self, target: Target, incident: Incident) -> None:
        """A target, or a descendant of one, has ended; this is the verdict."""

    def on_tick(self, targets: Targets, now_ns: int) -> None:
        """For a status line."""


class NewsListener(Protocol):
    """Of what earlier monitors left."""

    def on_unspooled(self, numbers: tuple[int, ...]) -> None:
        """Reports that could not be stored earlier are in the store now, with these numbers."""

    def on_unreported(self, report: str) -> None:
        """An end that happened while no monitor was running: its report, as JSON."""


class WatchListener(Listener, Protocol):
    """Notifications of `watch` besides those of every watch."""

    def on_attach(
        self, process: ProcessInfo, sources: tuple[BeatSource, ...], has_recorder: bool
    ) -> None:
        """A target is held and watched."""

    def on_watch_end(self, target: Target, incident: Incident) -> None:
        """The watch ends before the target does."""


class ServeListener(Listener, NewsListener, Protocol):
    """Notifications of `monitor` besides those of every watch."""

    def on_serve(self, address: str) -> None:
        """Programs may connect."""


class RunListener(Listener, InterruptListener, NewsListener, Protocol):
    """Notifications of `run` besides those of every watch."""

    def on_start(
        self,
        process: ProcessInfo,
        preload: Preload,
        sources: tuple[BeatSource, ...],
        policy: WatchPolicy,
        *,
        follow: bool,
    ) -> None:
        """The command is running."""

    def on_limited(self, what: str) -> None:
        """The command is watched less well than asked, and why."""
