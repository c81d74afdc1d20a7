"""`--on-hang`: end the tree of a hung process, once the hang was examined."""

from __future__ import annotations

from contextlib import suppress

from perimortem.analysis.observations import Request
from perimortem.clock import Clock
from perimortem.exits.signals import SIGABRT, SIGKILL, SIGTERM
from perimortem.model.exits import Sender
from perimortem.model.fact import FactCode, observed
from perimortem.model.process import ProcessRef
from perimortem.monitor.family import Family
from perimortem.monitor.lifecycle import Awaited, Event
from perimortem.monitor.settings import OnHang
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets
from perimortem.monitor.work import Work
from perimortem.proc import own_uid

_PATIENCE_NS = 10_000_000_000
"""A process that was signalled and has not ended by then is killed. Arbitrary."""


class HangPolicy:
    """The hung process is aborted, so that it leaves a core if cores are kept. Once it has ended, the
    rest of its tree is asked to end; a parent asked earlier might end it in the middle of its dump. What
    has not ended in time is killed. Or all are killed at once."""

    def __init__(
        self,
        choice: OnHang,
        work: Work,
        targets: Targets,
        family: Family,
        clock: Clock,
        monitor_pid: int,
    ) -> None:
        self._choice = choice
        self._work = work
        self._targets = targets
        self._family = family
        self._clock = clock
        self._monitor_pid = monitor_pid
        self._put_off: list[tuple[set[ProcessRef], list[Target]]] = []
        """The hung processes of a tree, and the others, which are asked to end after them."""

    def end_tree(self, target: Target) -> None:
        """Request the end of everything that belongs to the tree of a hung process."""
        if self._choice is OnHang.REPORT or target.open_hang is None:
            return
        members = self._family.list_tree(target)
        now = [t for t in members if self._choice is OnHang.KILL or self._is_hung(t)]
        for member in now:
            self._work.post(member, Event.END_REQUESTED)
        later = [member for member in members if member not in now]
        hung = target.process
        for member in later:  # it may react to the end of the others before it is asked to end
            member.note(observed(FactCode.POLICY_TREE, "monitor", name=hung.name, pid=hung.ref.pid))
        if later:
            self._put_off.append(({member.ref for member in now}, later))

    def note_end(self, target: Target) -> None:
        """It has ended, or was let go; the others of its tree may be due."""
        for hung, rest in list(self._put_off):
            hung.discard(target.ref)
            if not hung:
                self._put_off.remove((hung, rest))
                for member in rest:
                    if member.is_alive:
                        self._work.post(member, Event.END_REQUESTED)

    def signal_end(self, target: Target) -> None:
        if self._choice is OnHang.KILL:
            self._signal(target, SIGKILL)
        else:
            self._signal(target, SIGABRT if self._is_hung(target) else SIGTERM)

    def kill(self, target: Target) -> None:
        self._signal(target, SIGKILL)

    def arm_patience(self, target: Target) -> None:
        self._work.arm(
            target,
            Awaited.PATIENCE,
            _PATIENCE_NS,
            lambda late: self._work.post(late, Event.PATIENCE_OVER),
        )

    def _is_hung(self, target: Target) -> bool:
        """It hangs, or waits for a process that hangs."""
        hangs = [other.open_hang for other in self._targets]
        return target.open_hang is not None or any(
            record is not None and record.examined.ref == target.ref for record in hangs
        )

    def _signal(self, target: Target, number: int) -> None:
        if not target.is_alive:
            return
        sender = Sender(self._monitor_pid, own_uid(), "perimortem")
        now_ns = self._clock.monotonic_ns()
        target.note_request(Request(number, sender, now_ns, False, by_policy=True))
        with suppress(OSError):
            target.exit_watch.send_signal(number)
