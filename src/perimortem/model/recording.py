"""The contents of a recorder file, decoded and checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.process import ProcessRef


class Heartbeat(NamedTuple):
    """One heartbeat as last written by its target. Times are CLOCK_MONOTONIC nanoseconds.

    A tuple, since each sample of each target makes some."""

    name: str
    beat_ns: int
    """Last beat; if ``beaten`` is False, the time of registration."""
    beaten: bool
    threshold_ns: int | None
    """None: the monitor's default."""
    hold_until_ns: int
    """Not judged before this time (extend); 0 for no hold."""
    paused: bool


def merge_heartbeats(
    own: tuple[Heartbeat, ...], observed: tuple[Heartbeat, ...]
) -> tuple[Heartbeat, ...]:
    """A process's own heartbeats, and those observed from outside.

    For equal names the younger beat counts: if the agent's thread was stopped, the process was not.
    """
    seen = {beat.name: beat for beat in observed}
    merged = [
        beat
        if beat.name not in seen or beat.beat_ns >= seen[beat.name].beat_ns
        else seen[beat.name]
        for beat in own
    ]
    names = {beat.name for beat in own}
    return (*merged, *(beat for beat in observed if beat.name not in names))


@dataclass(frozen=True)
class Event:
    """One trace event."""

    sequence: int
    monotonic_ns: int
    name: str
    payload: str
    """JSON text as written by the target; not checked to be JSON."""


class ExitFunction(StrEnum):
    """The function that ended the process, by name."""

    EXIT = "exit"
    UNDERSCORE_EXIT = "_exit"
    CAPITAL_EXIT = "_Exit"
    QUICK_EXIT = "quick_exit"
    ABORT = "abort"
    EXIT_PROCESS = "ExitProcess"


@dataclass(frozen=True)
class ExitNote:
    """The caller of exit, _exit, _Exit, quick_exit or abort, recorded by the preloaded agent."""

    function: ExitFunction
    status: int | None
    tid: int
    is_main_thread: bool
    thread_name: str
    caller: ExitCaller
    module: str | None
    module_offset: int
    monotonic_ns: int

    @property
    def is_wanted(self) -> bool:
        """True for the program's own decision: main thread, through its own code or runtime.

        A virtual machine runs the program's main on a thread that it creates, and exits from any.
        """
        if self.caller is ExitCaller.VIRTUAL_MACHINE:
            return True
        return self.is_main_thread and self.caller in (ExitCaller.PROGRAM, ExitCaller.RUNTIME)


class Pulse(NamedTuple):
    """The first page of a recorder: all that a sample needs."""

    process: ProcessRef
    heartbeats: tuple[Heartbeat, ...]
    goodbye_ns: int | None
    goodbye_status: int | None
    exec_ns: int | None
    """An exec was begun in this image then, and the next image was not heard from."""


@dataclass(frozen=True)
class Recording:
    """A complete recorder file, read after the end or for a report."""

    pulse: Pulse
    events: tuple[Event, ...]
    events_lost: int
    """Events that were overwritten, or torn by the death of their writer."""
    exit_note: ExitNote | None
    crash: Crash | None
    created_at_ns: int
    soft_errors: tuple[str, ...]
    is_forked: bool = False
    """Of a child that was forked and executed no program."""
    exec_name: str | None = None
    """The file name of the program that it executed at ``pulse.exec_ns``, as far as it is known."""

    @property
    def has_bad_end(self) -> bool:
        """Its last note is of a crash, or of an exit that the program did not want."""
        is_crash = self.crash is not None and self.crash.is_fatal
        return is_crash or (self.exit_note is not None and not self.exit_note.is_wanted)

    @property
    def is_silent(self) -> bool:
        """It has no word about an end, or about another program that was executed."""
        return (
            self.exit_note is None and self.pulse.goodbye_ns is None and self.pulse.exec_ns is None
        )
