"""The monitor's one loop: ends, deadlines, signals and workers, in the order in which they come.

It waits in a selector (``system``) and nowhere else: nothing that it calls blocks on a target, a worker
or a client. It wakes for an event or for a deadline (``watch.schedule``), and never to poll a healthy
target's beats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from perimortem.clock import Clock
from perimortem.errors import PerimortemError
from perimortem.examine.worker import encode_question
from perimortem.model.evidence import Confidence
from perimortem.model.exits import ExitKind
from perimortem.model.incident import Host, Incident
from perimortem.model.system_log import SystemLog, SystemLogFindings
from perimortem.monitor.dump_workers import DumpWorkers
from perimortem.monitor.dumper import Dumper
from perimortem.monitor.examiner import Examiner
from perimortem.monitor.hangs import SETTLE_NS, Hangs
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.session import HangRecord, Session, derive_incident
from perimortem.monitor.settings import Settings
from perimortem.proc import refresh_executable, renew_process_info
from perimortem.recorder import RecorderEvents
from perimortem.system import open_selector
from perimortem.watch.schedule import Schedule
from perimortem.watch.states import State
from perimortem.watch.target import NEVER_NS, HangDetected, HangRecovered
from perimortem.watch.wakeup_delay import WakeupDelayDetector

OBSERVE_INTERVAL_NS = 1_000_000_000
_OBSERVED_PER_S = 100
"""Sources look at so many processes in a second; more are looked at less often."""
_DRAIN_NS = 1_000_000_000
"""So long after the last end other ends are still taken; processes may come for ever. Arbitrary."""
_TRACE_AFTER_NS = 100_000_000
"""Who ends before that is not traced: most commands are short. Arbitrary."""
_RETRY_MAX_NS = 50_000_000
_HELD_LOOK_NS = 100_000_000


class Listener(Protocol):
    """Who is told what happens, as it happens."""

    def on_hang(self, session: Session, incident: Incident) -> None:
        """A hang was detected; the incident is what is known so far."""

    def on_hang_examined(self, session: Session, incident: Incident) -> None:
        """Its dump and stacks are there."""

    def on_recovery(self, session: Session) -> None:
        """The hang is over."""

    def on_end(self, session: Session, incident: Incident) -> None:
        """A target, or a process that came from one, has ended, and this is the verdict."""

    def on_tick(self, sessions: list[Session], now_ns: int) -> None:
        """Called now and then, for a status line."""

    status_interval_ns: int | None


@dataclass
class Timer:
    """Something that is due at a time; ``call`` sets the next one, or None."""

    due_ns: int | None
    call: Callable[[int], None]


class Monitor:
    """Watches any number of targets until all have ended or :meth:`stop` is called."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        host: Host,
        listener: Listener,
        system_words: SystemLog,
        keeper: Keeper | None,
    ) -> None:
        """``keeper``: where incidents are kept; None keeps nothing (benchmarks)."""
        self.settings = settings
        self.selector = open_selector()
        self.sessions: dict[int, Session] = {}
        self._clock = clock
        self._host = host
        self._listener = listener
        self._system_words = system_words
        self._keeper = keeper
        self._tick = WakeupDelayDetector(clock)
        self._schedule = Schedule()
        self._retries: dict[int, tuple[int, int]] = {}
        """Key to (next time, pause): ended targets whose status is not there yet."""
        self._waiting: dict[int, Session] = {}
        """Ended targets whose dump or stacks are still under way."""
        self._keys = itertools.count(1)
        self._stopping = False
        self.timers: list[Timer] = []
        self.on_new_recorder: Callable[[str, int], None] = lambda _name, _now_ns: None
        """Told of recorders that belong to no session (yet)."""
        self.find_culprit: Callable[[Session], Session] = lambda session: session
        """Whom to dump when a target hangs."""
        self.on_ending: Callable[[Session, int], None] = lambda _session, _now_ns: None
        """Told of an end before the verdict is drawn."""
        self.on_ended: Callable[[Session, Incident], None] = self._tell_end
        """What is done with a verdict; by default it is kept and told."""
        self._status_due_ns: int | None = None
        self._key_of_file: dict[str, int] = {}
        self._observe_due_ns: dict[int, int] = {}
        self._recorder_events = self._listen_to_recorders()
        self.workers = DumpWorkers(self.selector, settings.dump_deadline_s)
        self.dumper = Dumper(settings, self.workers, keeper, clock)
        self.examiner = Examiner(self.selector, settings.examine_deadline_s)
        self.hangs = Hangs(self, listener)

    def add(self, session: Session) -> None:
        """Watch one more target."""
        key = next(self._keys)
        self.sessions[key] = session
        self.selector.register(
            session.exit_watch.waitable(), lambda now_ns: self._on_end_ready(key, now_ns)
        )
        self._key_of_file[session.recorder.path.name] = key
        self._schedule.arm(key, self._clock.monotonic_ns())

    def forget(self, session: Session) -> None:
        """Watch it no more; it goes on."""
        key = next((key for key, other in self.sessions.items() if other is session), None)
        if key is None or session.ended_ns is not None:
            return
        del self.sessions[key]
        self.selector.unregister(session.exit_watch.waitable())
        self._key_of_file.pop(session.recorder.path.name, None)
        self._observe_due_ns.pop(key, None)
        self._schedule.disarm(key)
        session.ended_ns = self._clock.monotonic_ns()  # for us: whoever still knows it lets it be
        session.close()

    def look_again(self, session: Session, now_ns: int) -> None:
        """Something was heard of a target: its deadlines may have changed."""
        key = next((key for key, other in self.sessions.items() if other is session), None)
        if key is not None and session.ended_ns is None:
            self._arm(key, now_ns)

    def each_second(self, task: Callable[[int], None]) -> None:
        """Have ``task`` called about once a second while the watch lasts."""

        def call(now_ns: int) -> None:
            timer.due_ns = now_ns + OBSERVE_INTERVAL_NS
            task(now_ns)

        timer = Timer(self._clock.monotonic_ns(), call)
        self.timers.append(timer)

    def after(self, delay_ns: int, task: Callable[[int], None]) -> None:
        """Have ``task`` called once."""

        def call(now_ns: int) -> None:
            self.timers.remove(timer)
            task(now_ns)

        timer = Timer(self._clock.monotonic_ns() + delay_ns, call)
        self.timers.append(timer)

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def stop(self) -> None:
        """End the watch; targets go on."""
        self._stopping = True

    def run(
        self, is_done: Callable[[], bool] = lambda: False, *, waits_for_more: bool = False
    ) -> None:
        """Until every target has ended, ``is_done`` says so, or :meth:`stop`.

        ``waits_for_more``: the end of all is not the end, for others may come."""
        if self.settings.dump is not None:
            self.workers.warm_up()
        self.after(_TRACE_AFTER_NS, lambda _now_ns: self._system_words.begin_trace())
        drain_until_ns: int | None = None
        while not self._stopping:
            if is_done() or not (waits_for_more or self.sessions or self._waiting):
                # Ends that came together with the last one are told, too.
                now_ns = self._clock.monotonic_ns()
                drain_until_ns = drain_until_ns or now_ns + _DRAIN_NS
                if now_ns > drain_until_ns or not self._take_ready():
                    return
                continue
            self.run_once()

    @property
    def is_looking_into_ends(self) -> bool:
        """Targets have ended whose verdict is not out yet."""
        return bool(self._waiting or self._retries)

    def run_once(self) -> None:
        """One wait and everything that came of it."""
        due_ns = self._next_due_ns()
        now_ns = self._clock.monotonic_ns()
        timeout_s = None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9)
        calls = self.selector.wait(timeout_s)
        now_ns = self._clock.monotonic_ns()
        self._rebase_if_late(due_ns, now_ns)
        for call in calls:
            call(now_ns)
        self._on_time(now_ns)

    def _take_ready(self) -> bool:
        calls = self.selector.wait(0)
        now_ns = self._clock.monotonic_ns()
        for call in calls:
            call(now_ns)
        return bool(calls)

    def close(self) -> None:
        """Let go of everything. Targets that still run are left as they are."""
        self.workers.close()
        self.examiner.close()
        self.selector.close()  # before what it waits for
        for session in (*self.sessions.values(), *self._waiting.values()):
            session.close()
        if self._recorder_events is not None:
            self._recorder_events.close()
        self._system_words.close()

    def helper_pids(self) -> set[int]:
        """Processes that are ours."""
        return self.workers.pids() | self.examiner.pids()

    def conclude_open(self, session: Session) -> Incident:
        """The incident of a target that outlives the watch; kept when it is hung."""
        incident = self.conclude(session)
        return self.keep(session, incident) if session.open_hang else incident

    def keep_all(self) -> None:
        """We may be ended any moment: what is known so far goes into the store."""
        for session in self.sessions.values():
            if session.is_command:
                self.keep(session, self.conclude(session))

    def _listen_to_recorders(self) -> RecorderEvents | None:
        """None where inotify has nothing left for us: then recorders are looked for by and by."""
        try:
            events = RecorderEvents(self.settings.run_dir)
        except OSError:
            return None
        self.selector.register(events.waitable(), self._on_recorder_event)
        return events

    def _on_recorder_event(self, now_ns: int) -> None:
        assert self._recorder_events is not None
        try:
            names = list(self._recorder_events.receive())
        except OSError:  # the directory is gone: from now on recorders are looked for by and by
            self.selector.unregister(self._recorder_events.waitable())
            self._recorder_events.close()
            self._recorder_events = None
            return
        for name in names:
            key = self._key_of_file.get(name)
            if key is None:
                self.on_new_recorder(name, now_ns)
            elif key in self.sessions and key not in self._retries:
                session = self.sessions[key]
                if session.ended_ns is None:
                    if session.recorder.refresh():
                        session.heartbeats_lost = None
                        session.has_beaten = False
                        session.target = renew_process_info(session.target)
                    self._schedule.arm(key, now_ns)

    # Time

    def _next_due_ns(self) -> int | None:
        times = (
            self._schedule.next_due_ns(),
            self.workers.next_deadline_ns(),
            self.examiner.next_deadline_ns(),
            self._status_due_ns if self._listener.status_interval_ns else None,
            *(timer.due_ns for timer in self.timers),
            self.hangs.next_deadline_ns(),
            *(at_ns for at_ns, _ in self._retries.values()),
        )
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def _rebase_if_late(self, due_ns: int | None, now_ns: int) -> None:
        rebase = self._tick.judge(due_ns, now_ns)
        if rebase is None:
            return
        for key, session in self.sessions.items():
            if session.ended_ns is not None:
                continue
            session.watch.rebase(now_ns)
            session.add_evidence(
                f"{rebase.reason} for {rebase.lost_ns / 1e9:.1f} s; deadlines were counted anew",
                "monitor's clock",
                Confidence.OBSERVED,
            )
            self._arm(key, session.watch.due_ns)

    def _on_time(self, now_ns: int) -> None:
        for key in self._schedule.take_due(now_ns):
            self._look(key, now_ns)
        for timer in list(self.timers):
            if timer.due_ns is not None and timer.due_ns <= now_ns:
                timer.call(now_ns)
        self.hangs.expire(now_ns)
        for key in [key for key, (at_ns, _) in self._retries.items() if at_ns <= now_ns]:
            self._collect_exit(key, now_ns)
        self.workers.expire(now_ns)
        self.examiner.expire(now_ns)
        interval_ns = self._listener.status_interval_ns
        if interval_ns and (self._status_due_ns is None or self._status_due_ns <= now_ns):
            self._status_due_ns = now_ns + interval_ns
            self._listener.on_tick(list(self.sessions.values()), now_ns)

    def _arm(self, key: int, due_ns: int) -> None:
        if due_ns < NEVER_NS:
            self._schedule.arm(key, due_ns)

    # Beats

    def _look(self, key: int, now_ns: int) -> None:
        session = self.sessions.get(key)
        if session is None or session.ended_ns is not None:
            return
        self._observe(key, session, now_ns)
        retry_ns = self._find_recorder(session)
        pulse = session.read_pulse(now_ns)
        if session.recorder.is_open and session.recorder.error:
            session.lose_recorder(session.recorder.error)
        if pulse is not None and not self._is_held(session):
            change = session.watch.look(pulse, now_ns, lambda: self._confirm(session))
            if isinstance(change, HangDetected):
                self.hangs.begin(session, change)
            elif isinstance(change, HangRecovered):
                self.hangs.end(session, change)
        if self._is_held(session):
            self._arm(key, now_ns + _HELD_LOOK_NS)
            return
        times = [session.watch.due_ns] if pulse is not None else []
        if retry_ns is not None:
            times.append(now_ns + retry_ns)
        if key in self._observe_due_ns:
            times.append(self._observe_due_ns[key])
        self._arm(key, min(times, default=NEVER_NS))

    def _observe(self, key: int, session: Session, now_ns: int) -> None:
        """At the sources' own pace; and before anything is told, so that no beat is missed."""
        is_due = now_ns >= self._observe_due_ns.get(key, 0)
        is_doubtful = session.watch.state in (State.LATE, State.HUNG)
        if not session.sources or self._is_held(session) or not (is_due or is_doubtful):
            return
        session.observe(now_ns)
        crowd = len(self._observe_due_ns) // _OBSERVED_PER_S
        self._observe_due_ns[key] = now_ns + OBSERVE_INTERVAL_NS * max(1, crowd)

    def _find_recorder(self, session: Session) -> int | None:
        """How long to wait before looking for its recorder again; None when it is there or lost."""
        if session.heartbeats_lost:
            return None
        if session.recorder.is_open or session.recorder.open():
            if not session.has_beaten:
                session.has_beaten = True
                session.target = refresh_executable(session.target)
            return None
        return session.recorder.retry_ns()

    def keep_so_far(self, session: Session) -> None:
        """What is known of it goes into the store now: we, too, may be gone the next moment."""
        self.keep(session, self.conclude(session))

    def crash_dumped(self, session: Session) -> None:
        """It has been answered; it ends now, or has ended while it was dumped."""
        now_ns = self._clock.monotonic_ns()
        session.watch.rebase_but_stopped(now_ns)
        session.disregard(now_ns + SETTLE_NS)
        if session.end is None:
            self.keep_so_far(session)
            self.look_again(session, now_ns)
        self._examine_dump(session, now_ns)
        self.finish_waiting()

    def _examine_dump(self, session: Session, now_ns: int) -> None:
        """Why it crashed is read from its dump; the verdict is told with it."""
        path = session.dumps[-1].path if session.dumps else None
        if path is None or not self.settings.collect_stacks:
            return

        def on_examined(document: dict[str, Any] | None, why: str) -> None:
            session.examination, session.is_examined = document, True
            if document is None:
                session.soft_errors.append(f"its dump was not examined: {why}")
            self.finish_waiting()

        question = encode_question(path=Path(path))
        self.examiner.request(session.target, question, on_examined, now_ns)

    def _is_held(self, session: Session) -> bool:
        """While our own dump or debugger stops the target, its silence is our doing."""
        if session.is_answer_due or session.is_looked_at:
            return True
        pids = {session.pid, *(record.examined.pid for record in session.hangs[-1:])}
        return any(self.dumper.is_busy_with(p) or self.examiner.is_busy_with(p) for p in pids)

    def _confirm(self, session: Session) -> bool:
        """Before a hang is told: is this still the recorder of what runs there?"""
        if session.heartbeats_lost or not session.recorder.is_open:
            return True  # only what we see ourselves is judged
        if session.recorder.refresh():
            session.watch.rebase(self._clock.monotonic_ns())
            return False
        if not session.recorder.is_mapped():
            session.lose_recorder("after an exec the program carries no agent")
            return False
        return True

    # Ends

    def _on_end_ready(self, key: int, now_ns: int) -> None:
        session = self.sessions.get(key)
        if session is None or session.ended_ns is not None:
            return  # forgotten in the same moment
        # Ready from now on: it must not wake us again.
        self.selector.unregister(session.exit_watch.waitable())
        session.ended_ns = now_ns
        self._observe_due_ns.pop(key, None)
        self._schedule.disarm(key)
        self._collect_exit(key, now_ns)

    def _collect_exit(self, key: int, now_ns: int) -> None:
        """A worker or debugger that holds the dead process delays its status: ask again later."""
        session = self.sessions[key]
        end = session.exit_watch.collect_exit(now_ns)
        if end is None:
            _, pause_ns = self._retries.get(key, (0, int(session.exit_watch.retry_after_s * 1e9)))
            self._retries[key] = (now_ns + pause_ns, min(2 * pause_ns, _RETRY_MAX_NS))
            return
        self._retries.pop(key, None)
        session.end = end
        self.on_ending(session, now_ns)
        record = session.open_hang
        if session.watch.hang is not None and record is not None:
            record.hang = session.watch.hang  # with the heartbeats that stopped since
            self._recover_at_the_end(session, record, now_ns)
        session.watch.end()
        del self.sessions[key]
        self._waiting[key] = session
        # The verdict is what the report's clock stops at; a dump under way may still be added.
        session.incident = self.conclude(session)
        self.finish_waiting()

    def _recover_at_the_end(self, session: Session, record: HangRecord, now_ns: int) -> None:
        """It may have come back to life between our last look and its end."""
        pulse = session.read_pulse(now_ns)
        beats = {b.name: b.beat_ns for b in pulse.heartbeats if b.beaten} if pulse else {}
        last = [beats.get(stopped.name, 0) for stopped in record.hang.stopped]
        if min(last, default=0) > record.hang.detected_ns:
            record.hang = replace(record.hang, recovered_ns=max(last))

    def finish_waiting(self) -> None:
        """Tell the ends that wait for nothing any more: no dump, no stacks."""
        for key, session in list(self._waiting.items()):
            if self._is_held(session) or session.is_dumped_at_end:
                continue
            del self._waiting[key]
            self._key_of_file.pop(session.recorder.path.name, None)
            assert session.incident is not None
            told = session.incident
            is_more_known = session.is_examined or told.hangs != ()
            if is_more_known or len(told.dumps) != len(session.dumps):
                told = replace(self.conclude(session), verdict_at_ns=told.verdict_at_ns)
            session.incident = told
            self.on_ended(session, told)
            session.recorder.remove()
            session.close()

    def _tell_end(self, session: Session, incident: Incident) -> None:
        session.incident = self.keep(session, incident)
        self._listener.on_end(session, session.incident)

    def conclude(self, session: Session) -> Incident:
        """What is known of it now, as an incident."""
        end = session.end
        words = SystemLogFindings()
        # A large code of Windows may be that of an exception that only the system knows to be one.
        is_plain = end is None or (
            end.kind is ExitKind.EXITED
            and (end.code or 0) <= 0xFFFF
            and not (end.code and session.is_command)
        )
        if not is_plain:
            try:
                words = self._system_words(session.pid, session.tids)
            except (PerimortemError, OSError) as error:
                session.soft_errors.append(f"the system's log could not be read: {error}")
        return derive_incident(session, self._host, self._clock, words)[0]

    def keep(self, session: Session, incident: Incident) -> Incident:
        """Put the incident into the store, or a fuller one into its place."""
        return self._keeper.keep(session, incident) if self._keeper else incident
