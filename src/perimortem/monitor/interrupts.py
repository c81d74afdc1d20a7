"""Ctrl-C that the program does not react to.

The program gets it first and alone: a REPL, an editor or a server that shuts down takes its own time.
If it still runs a second later, the user is notified; a second Ctrl-C within two seconds of that ends
the watch, and a third one before the watch has ended kills the targets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from perimortem.analysis.observations import Request
from perimortem.clock import Clock
from perimortem.exits.signals import SIGKILL
from perimortem.monitor.target import Target
from perimortem.monitor.timers import Timers

_PATIENCE_NS = 1_000_000_000
"""Programs that react to Ctrl-C mostly do so within this time. Arbitrary."""
_AGAIN_NS = 2_000_000_000


class InterruptListener(Protocol):
    """The messages for the user."""

    def on_interrupt_ignored(self, targets: list[Target]) -> None:
        """It was passed on a second ago, and these are still running."""

    def on_watch_ending(self, targets: list[Target]) -> None:
        """The watch is about to end; these keep running."""

    def on_kill(self, targets: list[Target]) -> None:
        """These were killed."""


class _State(Enum):
    QUIET = auto()
    PASSED_ON = auto()
    """The program received it and may still react."""
    IGNORED = auto()
    """The user was notified that it is still running."""
    ENDING = auto()
    """The watch ends soon."""


class Interrupts:
    """For one watched command."""

    def __init__(
        self,
        timers: Timers,
        clock: Clock,
        list_living: Callable[[], list[Target]],
        listener: InterruptListener,
        end_watch: Callable[[], None],
    ) -> None:
        self._timers = timers
        self._clock = clock
        self._list_living = list_living
        self._listener = listener
        self._end_watch = end_watch
        self._state = _State.QUIET

    def note(self, now_ns: int) -> None:
        """One more Ctrl-C has reached the program."""
        if self._state is _State.ENDING:
            self._kill(now_ns)
        elif self._state is _State.IGNORED:
            self._state = _State.ENDING
            self._listener.on_watch_ending(self._list_living())
            self._timers.arm(self, now_ns + _AGAIN_NS, lambda _now_ns: self._end_watch())
        else:
            self._state = _State.PASSED_ON
            self._timers.arm(self, now_ns + _PATIENCE_NS, self._look_after)

    def _look_after(self, now_ns: int) -> None:
        living = self._list_living()
        if not living:
            self._state = _State.QUIET
            return
        self._state = _State.IGNORED
        self._listener.on_interrupt_ignored(living)
        self._timers.arm(self, now_ns + _AGAIN_NS, self._calm_down)

    def _calm_down(self, _now_ns: int) -> None:
        self._state = _State.QUIET

    def _kill(self, now_ns: int) -> None:
        living = self._list_living()
        self._listener.on_kill(living)
        self._timers.disarm(self)
        self._state = _State.QUIET
        for target in living:
            target.note_request(Request(SIGKILL, None, now_ns, from_terminal=True))
            with suppress(OSError):
                target.exit_watch.send_signal(SIGKILL)
