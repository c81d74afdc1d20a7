"""Whole sequences of a watch, played by the real engine on a manual clock in milliseconds."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest
from rig import CLEAN, EXAMINATION, SECOND_NS, FakeReader, Rig, signaled

from perimortem.documents.base import encode
from perimortem.exits.signals import SIGABRT, SIGKILL, SIGTERM
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import FactCode
from perimortem.model.verdict import Verdict
from perimortem.monitor.lifecycle import Phase
from perimortem.monitor.settings import OnHang
from perimortem.report.sentences import describe_fact


@pytest.fixture()
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.stack.close()


def test_a_clean_end_is_reported_once_and_leaves_nothing(rig):
    target = rig.add()
    rig.run_for(0.5)
    rig.end(target)
    rig.step()
    assert rig.ends[target].exit.code == 0
    assert target.recorder.is_removed
    assert target.exit_watch.is_closed
    rig.check_nothing_is_left()


def test_a_hang_is_reported_then_dumped_then_examined(rig):
    target = rig.add()
    rig.hang_and_examine(target)
    assert rig.log.lines == [f"hang {target.pid}", f"examined {target.pid}"]
    assert [len(incident.dumps) for incident in rig.store.recorded] == [0, 1]
    assert target.hangs[0].examination == EXAMINATION
    assert target.life.phase is Phase.WATCHED


def test_it_recovers(rig):
    target = rig.add()
    rig.hang_and_examine(target)
    rig.beat(target)
    rig.run_until(lambda: target.hangs[0].hang.recovered_ns is not None)
    assert rig.log.lines[-1] == f"recovery {target.pid}"
    assert rig.store.recorded[-1].hangs[0].recovered_at_ns is not None


def test_a_monitor_that_was_stopped_in_the_middle_of_a_turn_knows_it(rig):
    """Its turn is over then, with work that is left: a sample that is due."""
    target = rig.add()
    rig.run_for(0.5)
    rig.beat(target)

    rig.targets.sample_at(target, rig.clock.now_ns)
    rig.timers.call_later(rig.clock.now_ns, lambda _now_ns: rig.clock.advance(2.5))
    rig.timers.call_later(rig.clock.now_ns, lambda _now_ns: None)
    rig.run_for(0.05)
    rig.step()
    assert FactCode.DEADLINES_RESET in {fact.code for fact in target.facts}
    rig.beat(target)
    rig.run_for(0.5)
    assert not target.hangs


def test_a_monitor_that_was_absent_reports_no_recovery_and_no_second_hang(rig):
    """Stopped for 2.5 s, five times, while a hang lasts."""
    target = rig.add()
    rig.hang_and_examine(target)
    for _ in range(5):
        rig.clock.advance(2.5)
        rig.run_for(2)
    assert rig.log.lines == [f"hang {target.pid}", f"examined {target.pid}"]
    assert len(target.hangs) == 1
    assert FactCode.DEADLINES_RESET in {fact.code for fact in target.facts}


def test_a_healthy_target_is_not_blamed_for_the_absence_of_the_monitor(rig):
    target = rig.add()
    rig.run_for(0.3)
    rig.clock.advance(30)
    rig.run_for(0.5)
    assert rig.log.lines == []
    assert target.life.phase is Phase.WATCHED


def test_the_machine_is_suspended_during_a_hang(rig):
    target = rig.add()
    rig.hang_and_examine(target)
    rig.clock.suspend(3600)
    rig.run_for(3)
    assert len(rig.log.lines) == 2
    (reset,) = [fact for fact in target.facts if fact.code is FactCode.DEADLINES_RESET]
    assert reset.values["lost_s"] == 3600


def test_it_recovers_at_the_very_end(rig):
    """Between our last sample and its end."""
    target = rig.add()
    rig.hang_and_examine(target)
    rig.beat(target)
    rig.end(target)
    rig.step()
    (hang,) = rig.ends[target].hangs
    assert hang.recovered_at_ns is not None
    assert rig.ends[target].verdict is not Verdict.HANG


def test_it_ends_while_its_hang_is_dumped(rig):
    target = rig.add()
    rig.run_until(lambda: target.life.phase is Phase.DUMPING)
    rig.end(target, signaled(SIGKILL))
    rig.step()
    assert target not in rig.ends
    rig.finish_dump()
    (dump,) = rig.ends[target].dumps
    assert dump.path == "/x.dmp"
    rig.check_nothing_is_left()


def test_a_status_that_is_held_back_is_asked_for_again(rig):
    """A debugger holds the dead process."""
    target = rig.add()
    rig.end(target, None)
    rig.run_for(0.2)
    assert target.life.phase is Phase.EXITING
    target.exit_watch.end = signaled(SIGTERM)
    rig.run_until(lambda: target in rig.ends)
    assert rig.ends[target].exit.signal == SIGTERM


def test_a_crash_is_dumped_answered_and_examined(rig):
    target = rig.add()
    rig.crash(target)
    assert rig.answered == []
    rig.finish_dump()
    assert rig.answered == [target]
    rig.end(target, signaled(11))
    rig.step()
    assert target not in rig.ends
    rig.finish_examination()
    assert rig.ends[target].examination is not None
    assert rig.ends[target].verdict is Verdict.CRASH
    rig.check_nothing_is_left()


def test_a_crash_is_recorded_before_its_dump_is_written(rig):
    """We, too, may be gone the next moment."""
    target = rig.add()
    rig.crash(target)
    assert [incident.crash.code for incident in rig.store.recorded] == [11]


def test_a_client_that_crashes_twice_is_dumped_once_and_answered_twice(rig):
    target = rig.add()
    rig.crash(target)
    rig.finish_dump()
    rig.crash(target)
    assert rig.answered == [target, target]
    assert rig.dumps() == []


def test_a_crash_goes_before_the_dump_of_a_hang_that_waits(rig):
    """Both are of one process, which is held by one worker at a time."""
    target = rig.add()
    rig.run_until(lambda: target.life.phase is Phase.DUMPING)
    rig.crash(target)
    assert len(rig.dumps()) == 1
    rig.finish_dump("/hang.dmp")
    assert len(rig.dumps()) == 1
    rig.finish_dump("/crash.dmp")
    assert rig.answered == [target]
    assert [dump.path for dump in target.dumps] == ["/hang.dmp", "/crash.dmp"]


def test_a_crash_ends_the_examination_of_a_hang(rig):
    target = rig.add()
    rig.run_until(lambda: target.life.phase is Phase.DUMPING)
    rig.finish_dump()
    (examiner,) = rig.examinations()
    rig.crash(target)
    assert examiner.was_killed
    rig.step()  # it is one worker at a time
    rig.finish_dump("/crash.dmp")
    assert target.life.phase is Phase.DIAGNOSING


def test_a_worker_that_dies_is_followed_by_a_smaller_dump(rig):
    target = rig.add()
    rig.crash(target)
    rig.dumps()[0].die()
    rig.step()
    (second,) = rig.dumps()
    assert json.loads(second.question)["options"]["types"] == 0
    rig.finish_dump()
    (dump,) = target.dumps
    assert "the dump worker died (status -9)" in dump.worker_failure
    assert "smaller" in dump.soft_errors[0]


def test_two_workers_that_die_leave_an_answer_and_a_reason(rig):
    target = rig.add()
    rig.crash(target)
    for _ in range(2):
        rig.dumps()[0].die(status=1, output=b"nonsense\n")
        rig.step()
    assert rig.answered == [target]
    assert target.dumps[0].error == "the dump worker died (status 1)"


def test_a_worker_that_is_late_is_ended(rig):
    target = rig.add()
    rig.crash(target)
    (first,) = rig.dumps()
    rig.run_for(61)
    assert first.was_killed
    (second,) = rig.dumps()
    rig.run_for(61)
    assert second.was_killed
    assert "took too long" in target.dumps[0].error
    assert rig.answered == [target]


def test_a_worker_that_never_stops_talking_is_ended(rig):
    target = rig.add()
    rig.crash(target)
    (worker,) = rig.dumps()
    worker.die(status=0, output=b"x" * (2 << 20))
    rig.step()
    assert len(rig.dumps()) == 1
    assert target.life.phase is Phase.CRASHING


@pytest.mark.parametrize(
    "output",
    [
        b"[1, 2",
        b"[]",
        b'{"threads": []}',
        b"[" * 5000,
        encode(EXAMINATION).replace("[]", "[7]").encode(),
    ],
    ids=["cut", "list", "incomplete", "nested", "wrong types"],
)
def test_a_bad_or_dead_examiner_costs_only_the_stacks(rig, output):
    target = rig.add()
    rig.run_until(lambda: target.life.phase is Phase.DUMPING)
    rig.finish_dump()
    rig.examinations()[0].die(status=1, output=output)
    rig.step()
    assert target.soft_errors == ["no stacks: the examiner died (status 1)"]
    assert rig.log.lines[-1] == f"examined {target.pid}"


def test_a_worker_that_cannot_be_started_is_reported(rig):
    target = rig.add()
    rig.run_for(0.2)
    rig.pool.close()  # the spare is gone, too
    rig.launcher.error = OSError(24, "Too many open files")

    def refuse(*arguments, **options):
        raise OSError(24, "Too many open files")

    rig.pool._launch = refuse
    rig.crash(target)
    rig.step()
    assert rig.answered == [target]
    assert "could not be started: Too many open files" in target.dumps[0].error


def test_a_dump_like_earlier_ones_is_examined_and_not_kept(rig, tmp_path):
    target = rig.add()
    rig.refuse_repeats()
    rig.crash(target)
    request = json.loads(rig.dumps()[0].question)
    scratch = Path(request["path"])
    assert scratch.name.startswith(".")
    scratch.write_bytes(b"MDMP")
    rig.finish_dump(str(scratch))
    assert rig.answered == [target]
    assert json.loads(rig.examinations()[0].question)["path"] == str(scratch)
    rig.finish_examination()
    assert not scratch.exists()
    assert target.examination is not None
    assert target.dumps == []
    assert target.soft_errors == ["not dumped: the same was dumped 3 times (setting)"]


@pytest.fixture()
def aborting(tmp_path):
    rig = Rig(tmp_path, on_hang=OnHang.ABORT)
    yield rig
    rig.stack.close()


def test_a_hung_member_is_aborted_and_the_rest_of_its_tree_asked_to_end(aborting):
    hung, other = aborting.add(4_900_001), aborting.add(4_900_002)
    aborting.timers.call_every(
        SECOND_NS // 2, aborting.clock.now_ns, lambda _: aborting.beat(other)
    )
    aborting.hang_and_examine(hung)
    assert hung.exit_watch.signals == [SIGABRT]
    assert other.exit_watch.signals == []  # it might end the other in the middle of its dump
    assert other.facts[-1].code is FactCode.POLICY_TREE
    aborting.end(hung, signaled(SIGABRT))
    aborting.step()
    assert other.exit_watch.signals == [SIGTERM]
    assert hung.is_ended_by_policy
    assert other.is_ended_by_policy
    aborting.run_for(11)
    assert other.exit_watch.signals == [SIGTERM, SIGKILL]
    assert hung.exit_watch.signals == [SIGABRT]


def test_two_members_that_hang_are_each_asked_to_end_once(aborting):
    first, second = aborting.add(4_900_001), aborting.add(4_900_002)
    aborting.run_until(lambda: second.life.phase is Phase.DUMPING)
    for _ in range(2):
        aborting.finish_dump()
        aborting.finish_examination()
    assert first.exit_watch.signals == [SIGABRT]
    assert second.exit_watch.signals == [SIGABRT]


@pytest.fixture()
def killing(tmp_path):
    rig = Rig(tmp_path, on_hang=OnHang.KILL)
    yield rig
    rig.stack.close()


def test_the_policy_kills_at_once_where_it_is_asked_to(killing):
    hung, other = killing.add(4_900_001), killing.add(4_900_002)
    killing.timers.call_every(SECOND_NS // 2, killing.clock.now_ns, lambda _: killing.beat(other))
    killing.hang_and_examine(hung)
    assert (hung.exit_watch.signals, other.exit_watch.signals) == ([SIGKILL], [SIGKILL])


def test_a_beat_on_the_way_out_after_our_signal_is_no_recovery(killing):
    target = killing.add()
    killing.hang_and_examine(target)
    assert target.exit_watch.signals == [SIGKILL]
    killing.beat(target)
    killing.run_for(0.5)
    killing.end(target, signaled(SIGKILL))
    killing.step()
    (hang,) = killing.ends[target].hangs
    assert hang.recovered_at_ns is None
    assert killing.ends[target].verdict is Verdict.HANG


def test_silence_after_our_signal_is_no_hang(killing):
    """The rest of a tree, ended with the process that hung."""
    hung, healthy = killing.add(), killing.add(4_900_001)
    killing.timers.call_every(
        SECOND_NS // 2,
        killing.clock.now_ns,
        lambda _: killing.beat(healthy) if not healthy.exit_watch.signals else None,
    )
    killing.hang_and_examine(hung)
    killing.run_for(3)
    assert healthy.exit_watch.signals == [SIGKILL]
    assert healthy.hangs == []


def test_without_a_policy_nothing_is_signalled(rig):
    target = rig.add()
    rig.hang_and_examine(target)
    rig.run_for(30)
    assert target.exit_watch.signals == []


def test_the_watch_ends_in_the_middle_of_everything(rig):
    targets = [rig.add(4_900_000 + at) for at in range(4)]
    hung, crashing, ending, healthy = targets
    rig.run_until(lambda: hung.life.phase is Phase.DUMPING)
    rig.crash(crashing)
    rig.end(ending, None)
    rig.step()
    rig.monitor.engine.release_all()
    assert set(rig.released) == {hung, crashing, healthy}
    assert set(rig.ends) == {ending}
    assert rig.answered[-1] is crashing or crashing in rig.answered
    assert not rig.dumps()
    assert all(target.exit_watch.is_closed for target in targets)
    rig.pool.close()
    rig.check_nothing_is_left()


def test_ends_come_in_every_order(tmp_path):
    """A tree of four, one of which hangs and one of which crashes."""
    rig = Rig(tmp_path)
    targets = [rig.add(4_900_000 + at) for at in range(4)]
    rig.crash(targets[1])
    rig.run_until(lambda: targets[0].life.phase is Phase.DUMPING)
    for target in reversed(targets):
        rig.end(target, signaled(SIGKILL))
    rig.step()
    while rig.dumps():
        rig.finish_dump()
    while rig.examinations():
        rig.finish_examination()
    assert set(rig.ends) == set(targets)
    rig.check_nothing_is_left()
    rig.stack.close()


@pytest.mark.parametrize(("leaves", "silent"), [(False, True), (True, None), (None, None)])
def test_whether_it_meant_to_end_is_said_only_if_its_program_is_known(
    rig, monkeypatch, leaves, silent
):
    """A Go program ends by a direct system call, which no agent sees."""
    monkeypatch.setattr(FakeReader, "leaves_by_own_system_call", lambda *_: leaves)
    target = rig.add()
    rig.end(target, Exit(ExitKind.EXITED, ExitSource.WAITID, code=3))
    rig.step()
    incident = rig.ends[target]
    assert incident.silent is silent
    said = " ".join(describe_fact(fact.code, fact.values) for fact in incident.evidence)
    assert ("a Go program exits by" in said) == (leaves is True)
    assert ("its program could not be read" in said) == (leaves is None)


@pytest.mark.parametrize("how", ["clean", "hang", "crash", "hang and crash"])
def test_of_a_target_that_is_reported_nothing_is_kept(rig, how):
    """A service that crashes every second would fill the memory of its monitor."""
    target = rig.add()
    if "hang" in how:
        rig.hang_and_examine(target)
    if "crash" in how:
        rig.crash(target)
        rig.finish_dump()
        rig.finish_examination()
    rig.end(target, signaled(SIGKILL) if "crash" in how else CLEAN)
    rig.step()
    assert target in rig.ends
    rig.ends.clear()
    rig.answered.clear()
    left = weakref.ref(target)
    del target
    gc.collect()
    assert left() is None


def test_a_target_that_has_ended_is_reaped_by_its_watch_alone(rig):
    """Its status would be lost."""
    target = rig.add()
    rig.end(target, None)
    rig.step()
    assert rig.targets.find_pid(target.pid) is None
    assert rig.targets.holds_pid(target.pid)
    target.exit_watch.end = CLEAN
    rig.run_until(lambda: target in rig.ends)
    assert not rig.targets.holds_pid(target.pid)


def test_a_process_that_is_met_dead_after_a_long_backlog_is_reported(rig):
    """The last end came long ago by then."""
    target = rig.add()
    met = []

    def backlog():
        for _ in range(20):
            rig.clock.now_ns += SECOND_NS // 5
            yield True
        met.append(rig.add(4_900_001))
        rig.end(met[0])

    def begin_backlog(_now_ns):
        rig.turns.take("names", backlog())
        rig.end(target)

    rig.timers.call_later(rig.clock.now_ns, begin_backlog)
    rig.monitor.engine.run(lambda: all(t.is_alive for t in rig.targets) and target in rig.ends)
    assert set(rig.ends) == {target, *met}
    assert met
