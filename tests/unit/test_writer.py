"""The process that writes: requests in any order, a writer that dies, lies or never answers."""

from __future__ import annotations

import sqlite3
import time

import pytest

from perimortem.model.process import ProcessRef
from perimortem.model.verdict import Verdict
from perimortem.monitor import writer
from perimortem.monitor.settings import Settings, WriterSettings
from perimortem.monitor.timers import Timers
from perimortem.monitor.writer_link import WriterLink
from perimortem.store.answers import Kept, Refusal, Reservation
from perimortem.store.database import Store
from perimortem.store.keeper import Keeper
from perimortem.store.place import StorePlace
from perimortem.store.requests import (
    Forget,
    Keep,
    Received,
    Recovered,
    Reserve,
    Settle,
    Unspooled,
    decode_line,
    encode_line,
)
from perimortem.store.retention import Limits
from perimortem.store.stored_report import prepare_report
from perimortem.testing.documents import make_report
from perimortem.testing.fake_selector import FakeSelector
from perimortem.testing.manual_clock import ManualClock

MIB = 1 << 20
SECOND_NS = 1_000_000_000
MONITOR = ProcessRef(4_900_000, 1)


def make_stored(uid, **values):
    return prepare_report(make_report(uid=uid * 32, **values))


@pytest.fixture()
def place(tmp_path):
    (tmp_path / "dumps").mkdir()
    limits = Limits(100 * MIB, 0, 1e9, dumps_per_hour=3)
    return StorePlace(tmp_path / "a.db", (tmp_path / "spool",), tmp_path / "dumps", limits)


def list_all(place):
    with Store(place.path) as store:
        return store.list_incidents(with_clean=True)


def make_settings(place, tmp_path, *, recovers=False):
    return WriterSettings(
        "run",
        place,
        Settings(tmp_path / "run", tmp_path),
        MONITOR,
        recovers=recovers,
        reports_own=recovers,
    )


def serve(place, tmp_path, *requests, recovers=False):
    """The answers and the news of a writer that is given these requests, then none."""
    settings = make_settings(place, tmp_path, recovers=recovers)
    said = []
    lines = [encode_line(number, request) for number, request in enumerate(requests)]
    writer.serve(settings, iter(lines), said.append)
    return [decode_line(line) for line in said]


MESSAGES = [
    Keep(make_stored("a")),
    Reserve("a\n\ud800", 3, may_grow=True),
    Settle(Reservation(1, 2), None, 0, "a" * 32),
    Forget(Reservation(1, 2)),
    Kept(None, "why", is_kept=False),
    Reservation(3, 4),
    Refusal("full", is_repeat=True),
    Received(),
    Unspooled((1, 2)),
    Recovered(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message):
    line = encode_line(7, message)
    assert line.count(b"\n") == 1
    assert decode_line(line) == (7, message)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", b'{"kind": "Keep", "number": 1, "values": {}}']
)
def test_what_is_no_message_is_refused(line):
    with pytest.raises(ValueError):
        decode_line(line)


def test_reports_that_come_together_are_stored_with_one_commit(place, tmp_path, monkeypatch):
    batches = []
    keep = Keeper.keep
    monkeypatch.setattr(
        Keeper, "keep", lambda self, reports: batches.append(len(reports)) or keep(self, reports)
    )
    requests = [Keep(make_stored(uid)) for uid in "abcabc"]
    answers = dict(serve(place, tmp_path, *requests))
    assert len(list_all(place)) == 3
    assert [answers[at] for at in range(3)] == [Kept(1), Kept(2), Kept(3)]
    assert sum(batches) <= 6
    assert max(batches) <= 3, "of one incident only the last report is written"


def test_all_that_was_asked_is_done_before_the_writer_ends(place, tmp_path):
    """The monitor was killed: no one reads the answers."""
    settings = make_settings(place, tmp_path)

    def send(_data):
        raise BrokenPipeError

    writer.serve(settings, iter([encode_line(1, Keep(make_stored("a")))]), send)
    assert len(list_all(place)) == 1


def test_a_dump_that_is_removed_later_is_known_to_its_incident(place, tmp_path):
    """Whether it was settled before its report came, or after."""
    keeper = Keeper(place)
    path = str(place.dumps_dir / "a.dmp")
    report = make_stored("a")
    for settle_first in (True, False):
        reservation = keeper.reserve("a", MIB, may_grow=False)
        if settle_first:
            keeper.settle(reservation, path, MIB, report.uid)
            keeper.keep([report])
            keeper.settle(reservation, path, MIB, report.uid)
        else:
            keeper.keep([report])
            keeper.settle(reservation, path, MIB, report.uid)
        with Store(place.path) as store, store.transaction() as ask:
            rows = ask("SELECT incident FROM dump WHERE path = ?", (path,))
        assert {row[0] for row in rows} == {1}
    keeper.close()


def test_without_a_database_reports_are_spooled_and_a_few_dumps_allowed(place):
    place.path.mkdir()
    keeper = Keeper(place)
    kept = keeper.keep([make_stored("a"), make_stored("b")])
    assert all(k.is_kept and "until the store takes it" in k.note for k in kept)
    answers = [keeper.reserve("a", MIB, may_grow=False) for _ in range(9)]
    assert [isinstance(answer, Reservation) for answer in answers] == [True] * 8 + [False]
    place.path.rmdir()
    assert [number for numbers in keeper.bring_in() for number in numbers] == [1, 2]


def test_what_is_kept_nowhere_says_so(place):
    place.path.mkdir()
    place.spools[0].write_text("")
    (kept,) = Keeper(place).keep([make_stored("a")])
    assert not kept.is_kept
    assert "kept nowhere" in kept.note


def test_an_incident_that_is_complete_is_not_replaced_by_what_a_recorder_has(place):
    keeper = Keeper(place)
    keeper.keep([make_stored("a", verdict=Verdict.OOM_KILL)])
    assert keeper.keep_unfinished(make_stored("a", verdict=Verdict.UNKNOWN)) == Kept(1)
    assert list_all(place)[0].verdict == "oom-kill"
    keeper.keep([make_stored("b", verdict=Verdict.HANG, ended_at=None)])
    assert keeper.keep_unfinished(make_stored("b", verdict=Verdict.CRASH)) == Kept(2)
    assert list_all(place)[1].verdict == "crash"


def test_the_spool_is_taken_in_while_the_monitor_has_nothing_to_write(place, tmp_path):
    lock = sqlite3.connect(place.path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    ((_, kept), *_) = serve(place, tmp_path, Keep(make_stored("a")))
    assert kept.number is None
    lock.execute("ROLLBACK")
    lock.close()
    answers = serve(place, tmp_path, recovers=True)
    assert [message for _, message in answers if isinstance(message, Unspooled)] in (
        [],  # its input ended first
        [Unspooled((1,))],
    )
    assert [n for numbers in Keeper(place).bring_in() for n in numbers] in ([], [1])
    assert len(list_all(place)) == 1


def test_what_was_spooled_is_stored_as_soon_as_that_is_possible_again(place, tmp_path):
    place.path.mkdir()
    settings = make_settings(place, tmp_path)
    said = []

    def list_lines():
        yield encode_line(1, Keep(make_stored("a")))
        while not any(isinstance(message, Kept) for message in said):
            time.sleep(0.001)
        place.path.rmdir()
        yield encode_line(2, Keep(make_stored("b")))
        while Unspooled((2,)) not in said:
            time.sleep(0.001)

    writer.serve(settings, list_lines(), lambda data: said.append(decode_line(data)[1]))
    assert [row.number for row in list_all(place)] == [1, 2]
    assert Unspooled((2,)) in said


# The monitor's end


class FakeWriter:
    def __init__(self, selector, pid):
        self.pid = pid
        self.asked = []
        self.unsent_bytes = 0
        self.is_ended = False
        self._selector = selector
        self._waitable = selector.new_waitable()
        self._output = []

    def waitable(self):
        return self._waitable

    def send(self, data):
        self.asked += [decode_line(line) for line in data.splitlines()]

    def flush(self):
        self.unsent_bytes = 0

    def say(self, data):
        self._output.append(data)
        self._selector.make_ready(self._waitable)

    def read(self):
        return self._output.pop(0) if self._output else None

    def end(self, patience_s):
        self.is_ended = True

    def is_over(self):
        return self.is_ended


class LinkRig:
    def __init__(self):
        self.clock = ManualClock(100 * SECOND_NS)
        self.selector = FakeSelector(self.clock)
        self.timers = Timers()
        self.writers = []
        self.news = []
        self.answers = []
        self.can_start = True
        self.link = WriterLink(
            self.selector, self.timers, self.clock, self.start, self.news.append, 10.0
        )

    def start(self):
        self.writers.append(FakeWriter(self.selector, len(self.writers) + 1))
        if not self.can_start:
            raise OSError("no process")
        return self.writers[-1]

    def ask(self, signature):
        self.link.ask(Reserve(signature, 1, may_grow=False), self.answers.append, 5.0)

    def step(self, seconds=0.0):
        for call in self.selector.wait(0):
            call(self.clock.now_ns)
        self.clock.now_ns += int(seconds * SECOND_NS)
        for call in self.timers.take_due(self.clock.now_ns):
            call(self.clock.now_ns)


@pytest.fixture()
def rig():
    return LinkRig()


def test_answers_come_in_pieces_and_in_any_order(rig):
    rig.ask("a")
    rig.ask("b")
    (first, _), (second, _) = rig.writers[0].asked
    data = encode_line(second, Reservation(2, 2)) + encode_line(first, Reservation(1, 1))
    for at in range(0, len(data), 7):
        rig.writers[0].say(data[at : at + 7])
        rig.step()
    assert rig.answers == [Reservation(2, 2), Reservation(1, 1)]
    assert rig.link.is_answered
    assert rig.timers.next_due_ns() is None


def test_at_the_end_nothing_but_the_writer_is_waited_for(rig):
    """A timer of the watch found its target's handle closed, and its exception was our exit status."""
    called = []
    rig.timers.call_every(1, 0, called.append)
    rig.selector.register(99, called.append)
    rig.selector.make_ready(99)
    rig.ask("a")
    ((number, _),) = rig.writers[0].asked
    rig.writers[0].say(encode_line(number, Reservation(1, 1)))
    last = FakeSelector(rig.clock)
    last.make_ready(rig.writers[0].waitable())
    rig.link.finish(last, lambda: rig.link.is_answered, 15.0)
    assert (rig.answers, called) == ([Reservation(1, 1)], [])
    rig.link.close()
    assert rig.writers[0].is_ended


def test_at_the_end_a_writer_that_is_silent_is_waited_for_a_bounded_time(rig):
    rig.ask("a")
    last = FakeSelector(rig.clock)
    begun_ns = rig.clock.now_ns
    rig.link.finish(last, lambda: False, 15.5)
    assert rig.answers == [None], "given up after the patience of the request"
    assert rig.clock.now_ns - begun_ns == 15.5 * SECOND_NS


def test_a_writer_that_does_not_answer_is_not_waited_for_and_may_answer_late(rig):
    rig.ask("a")
    rig.step(14.0)  # it may be starting
    assert rig.answers == []
    rig.step(1.0)
    assert rig.answers == [None]
    ((number, _),) = rig.writers[0].asked
    rig.writers[0].say(encode_line(number, Reservation(1, 1)))
    rig.step()
    assert rig.answers == [None]
    assert rig.writers[0].asked[-1][1] == Forget(Reservation(1, 1)), "its room is given back"
    rig.writers[0].say(encode_line(rig.writers[0].asked[-1][0], Received()))
    rig.step()
    rig.ask("b")
    rig.step(5.0)  # it has started
    assert rig.answers == [None, None]


def test_another_writer_is_asked_what_a_dead_one_did_not_answer(rig):
    rig.ask("a")
    rig.ask("b")
    rig.writers[0].say(encode_line(rig.writers[0].asked[0][0], Reservation(1, 1)))
    rig.writers[0].say(b"")
    rig.step()
    rig.step()
    assert rig.writers[0].is_ended
    ((number, request),) = rig.writers[1].asked
    assert request.signature == "b"
    rig.writers[1].say(encode_line(number, Reservation(2, 2)))
    rig.step()
    assert rig.answers == [Reservation(1, 1), Reservation(2, 2)]


def test_a_writer_that_dies_of_each_request_is_given_up(rig):
    rig.ask("a")
    for at in range(4):
        rig.writers[at].say(b"")
        rig.step()
    assert rig.answers == [None]
    assert rig.link.is_lost
    rig.ask("b")
    assert rig.answers == [None, None]
    assert len(rig.writers) == 4
    assert not rig.selector.registered


def test_if_no_writer_can_be_started_every_request_fails_soon(rig):
    rig.can_start = False
    rig.ask("a")
    assert rig.answers == []
    for _ in range(5):
        rig.step(0.2)
    assert rig.answers == [None]
    assert not rig.link.pids()
    rig.can_start = True
    rig.ask("b")
    assert rig.answers == [None, None]
    rig.step(61.0)
    rig.ask("c")
    assert rig.writers[-1].asked[0][1].signature == "c", "there may be memory again"


def test_a_writer_that_cannot_be_started_now_is_started_soon(rig):
    rig.can_start = False
    rig.ask("a")
    rig.can_start = True
    rig.step(0.2)
    ((number, _),) = rig.writers[-1].asked
    rig.writers[-1].say(encode_line(number, Reservation(1, 1)))
    rig.step()
    assert rig.answers == [Reservation(1, 1)]


def test_a_writer_that_reads_nothing_does_not_fill_the_memory(rig):
    rig.ask("a")
    rig.writers[0].unsent_bytes = 65 << 20
    rig.ask("b")
    assert rig.answers == [None]
    rig.writers[0].unsent_bytes = 10
    rig.ask("c")
    rig.step(0.02)
    assert rig.writers[0].unsent_bytes == 0, "what could not be sent is tried again"


def test_news_needs_no_request(rig):
    rig.link.open()
    rig.writers[0].say(encode_line(None, Unspooled((1, 2))) + encode_line(None, Recovered()))
    rig.step()
    assert rig.news == [Unspooled((1, 2)), Recovered()]
