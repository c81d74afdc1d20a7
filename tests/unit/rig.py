"""A whole monitor on a manual clock: the real engine, effects, pool and store interface; no process."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from perimortem.dumping import Hold
from perimortem.dumping.protocol import encode_hold, encode_result
from perimortem.examine.protocol import encode_answer
from perimortem.hangs.policy import WatchPolicy
from perimortem.hangs.target import TargetWatch
from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.dump import MINI, DumpResult
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.incident import Host
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.recording import Heartbeat, Pulse, Recording
from perimortem.model.system_log import SystemLogFindings
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import Base
from perimortem.monitor.lifecycle import Event, Phase
from perimortem.monitor.looks import Looks
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets
from perimortem.monitor.timers import Timers
from perimortem.monitor.turns import Turns
from perimortem.monitor.workers import WorkerPool
from perimortem.store.answers import Kept, Refusal, Reservation
from perimortem.testing.documents import make_examination
from perimortem.testing.fake_selector import FakeSelector
from perimortem.testing.fake_worker import FakeLauncher
from perimortem.testing.manual_clock import ManualClock

DUMPER = "dumping/worker.py"
EXAMINER = "examine/worker.py"
SECOND_NS = 1_000_000_000
CLEAN = Exit(ExitKind.EXITED, ExitSource.WAITID, code=0)
EXAMINATION = make_examination()


def signaled(number):
    return Exit(ExitKind.SIGNALED, ExitSource.WAITID, signal=number)


class FakeExitWatch:
    """An end that a test makes happen."""

    retry_after_s = 0.002

    def __init__(self, process, selector):
        self.process = process
        self.facts = []
        self.signals = []
        self.end = None
        self.is_closed = False
        self._waitable = selector.new_waitable()

    def waitable(self):
        return self._waitable

    def collect_exit(self, now_ns):
        return self.end

    def send_signal(self, number):
        self.signals.append(number)

    def close(self):
        assert not self.is_closed
        self.is_closed = True


class FakeRecorder:
    """A recorder with one heartbeat, ``main``, and a limit of one second."""

    def __init__(self, process, clock):
        self.path = Path(f"{process.pid}.rec")
        self.name = None
        self.is_after_exec = False
        self.error = None
        self.is_open = True
        self.is_removed = False
        self.beat_ns = clock.monotonic_ns()
        self._process = process

    def read_pulse(self, now_ns):
        beat = Heartbeat("main", self.beat_ns, True, SECOND_NS, 0, False)
        return Pulse(self._process, (beat,), None, None, None)

    def read_recording(self, now_ns):
        return Recording(self.read_pulse(now_ns), (), 0, None, None, 0, ())

    def refresh(self):
        return False

    def is_mapped(self, maps_file):
        return True

    def remove(self):
        self.is_removed = True

    def close(self):
        self.is_open = False


class FakeStore:
    """Keeps what is recorded, and answers reservations as the test configures it."""

    def __init__(self):
        self.recorded = []
        self.settled = []
        self.forgotten = []
        self.refusal = None

    def warm_up(self):
        return

    def pids(self):
        return set()

    def record(self, target, incident, done=lambda: None):
        number = target.kept.number or len({r.number for r in self.recorded}) + 1
        target.note_recorded(incident.uid)
        target.note_kept(Kept(number))
        self.recorded.append(replace(incident, number=number))
        done()

    def reserve_dump(self, signature, expected_bytes, done, *, may_grow=False):
        done(self.refusal or Reservation(1, 1 << 30))

    def settle_dump(self, target, reservation, result):
        self.settled.append(result)

    def forget_dump(self, reservation):
        self.forgotten.append(reservation)

    def note_pause(self, pause):
        return


class Log:
    """Every notification, in order."""

    status_interval_ns = None

    def __init__(self):
        self.lines = []

    def on_hang(self, target, incident):
        self.lines.append(f"hang {target.pid}")

    def on_hang_examined(self, target, incident):
        self.lines.append(f"examined {target.pid}")

    def on_recovery(self, target):
        self.lines.append(f"recovery {target.pid}")

    def on_ranks(self, text):
        self.lines.append(f"ranks {text}")

    def on_quiet(self, target, fact):
        self.lines.append(f"quiet {target.pid}")

    def on_end(self, target, incident):
        raise AssertionError

    def on_tick(self, targets, now_ns):
        raise AssertionError


class NoLog:
    def __call__(self, pid, tids):
        return SystemLogFindings()

    def begin_trace(self):
        return

    def close(self):
        return


class FakeReader:
    """Nothing is known of any process."""

    starved_ns = 0

    def warm_up(self):
        return

    def renew_process_info(self, target):
        return target

    def guess_caller(self, pid, stack_pointer):
        return None

    def maps_file(self, pid, inode, part):
        return True

    def look_at_program(self, pid, executable):
        return

    def leaves_by_own_system_call(self, executable):
        return False

    def pids(self):
        return set()


class Rig:
    """Targets are added by :meth:`add`, time passes by :meth:`run_for`."""

    def __init__(self, tmp_path, *, clock=None, selector=None, **settings):
        self.clock = clock or ManualClock(100 * SECOND_NS)
        self.selector = selector or FakeSelector(self.clock)
        self.launcher = FakeLauncher(self.selector)
        self.timers = Timers()
        self.pool = WorkerPool(self.selector, self.timers, self.clock.monotonic_ns, self.launcher)
        self.turns = Turns(self.timers, self.clock.monotonic_ns)
        self.targets = Targets(self.selector, self.timers, self.clock)
        self.store = FakeStore()
        self.log = Log()
        self.ends = {}
        self.released = {}
        self.answered = []
        self.stack = ExitStack()
        base = Base(
            self.clock, self.selector, self.timers, self.turns, self.targets, self.pool,
            FakeReader(), Looks(self.selector, self.timers, self.clock.monotonic_ns),
        )  # fmt: skip
        (tmp_path / "dumps").mkdir()
        self.settings = Settings(
            run_dir=tmp_path / "none",
            data_dir=tmp_path,
            **{"policy": WatchPolicy(threshold_ns=SECOND_NS), **settings},
        )
        self.monitor = build_monitor(
            base,
            self.settings,
            Host("host", "Linux", None),
            NoLog(),
            None,
            self.stack,
            store=self.store,
            listener=self.log,
            reporter=self,
            family=self,
            answer_crash=self.answered.append,
        )
        self.run_for(0.2)  # the timers of its start have run

    # What a front end does

    def on_exit(self, target, now_ns):
        return

    def complete_end(self, target, incident):
        return incident, True

    def report_end(self, target, incident):
        assert target not in self.ends, "reported twice"
        self.ends[target] = incident

    def report_release(self, target, incident):
        self.released[target] = incident

    def find_culprit(self, target):
        return target

    def list_tree(self, target):
        return [t for t in self.targets if t.is_alive]

    # What happens

    def add(self, pid=4_900_000):
        """A pid that no process has."""
        ref = ProcessRef(pid, 1)
        target = Target(
            ProcessInfo(ref, "server", None, ("server",), 0),
            FakeExitWatch(ref, self.selector),
            FakeRecorder(ref, self.clock),
            TargetWatch(self.settings.policy, self.clock.monotonic_ns()),
            self.clock.monotonic_ns(),
        )
        self.targets.add(target)
        return target

    def beat(self, target):
        target.recorder.beat_ns = self.clock.monotonic_ns()

    def end(self, target, how=CLEAN):
        """It ends; None: its status is not known yet."""
        target.exit_watch.end = how
        self.selector.make_ready(target.exit_watch.waitable())

    def crash(self, target):
        """Its handler reports SIGSEGV."""
        crash = Crash(
            11, 1, target.pid, "main", 16, 0, 0, self.clock.monotonic_ns(), None, None, None, 0,
            ExitCaller.UNKNOWN, None, 0, 0, True, None,
        )  # fmt: skip
        again = target.crash is not None
        if not again:
            target.note_crash(crash, None, target.process)
        self.targets.post(target, Event.CRASHED_AGAIN if again else Event.CRASHED)
        self.monitor.engine.run_once()

    def run_for(self, seconds):
        """Until so much time has passed."""
        until_ns = self.clock.now_ns + int(seconds * SECOND_NS)
        self.timers.call_later(until_ns, lambda _now_ns: None)
        while self.clock.now_ns < until_ns:
            self.monitor.engine.run_once()

    def step(self, times=5):
        """What is ready now, without letting time pass to a deadline."""
        for _ in range(times):
            self.timers.call_later(self.clock.now_ns, lambda _now_ns: None)
            self.monitor.engine.run_once()

    def run_until(self, condition, seconds=30.0):
        until_ns = self.clock.now_ns + int(seconds * SECOND_NS)
        while not condition():
            assert self.clock.now_ns < until_ns, "it did not happen"
            self.monitor.engine.run_once()

    def dumps(self):
        return self.launcher.list_asked(DUMPER)

    def examinations(self):
        return self.launcher.list_asked(EXAMINER)

    def finish_dump(self, path="/x.dmp", error=None):
        """The dump worker that was asked first answers."""
        worker = self.dumps()[0]
        result = DumpResult(path, MINI, 4096, 1.0, 3, (), error)
        worker.answer(encode_hold(Hold()) + encode_result(result))
        self.step()

    def finish_examination(self, document=EXAMINATION):
        worker = self.examinations()[0]
        worker.answer(encode_answer(document))
        self.step()

    def hang_and_examine(self, target):
        """A whole hang: reported, dumped, examined."""
        self.run_until(lambda: target.life.phase is Phase.DUMPING)
        self.finish_dump()
        self.finish_examination()

    def check_nothing_is_left(self):
        """No worker but a spare, no timer of a target, nothing registered."""
        self.run_for(0.1)  # until the spare is started
        assert not len(self.targets)
        assert not self.dumps()
        assert not self.examinations()
        assert not self.selector.registered
        assert self.timers.next_due_ns() is None

    def refuse_repeats(self):
        self.store.refusal = Refusal("the same was dumped 3 times (setting)", is_repeat=True)
