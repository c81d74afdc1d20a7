"""The picture of threads that wait for each other."""

from __future__ import annotations

from types import SimpleNamespace

from perimortem.documents.report import StuckThread
from perimortem.report.html.lock_graph import render_lock_graph


def stuck(tid, *waits_for, pid=7, text="Java monitor 0x10, held by 9 (right)"):
    return StuckThread(pid, tid, "server", f"t{tid}", text, "", list(waits_for))


def draw(*threads):
    report = SimpleNamespace(hangs=[SimpleNamespace(deadlock=list(threads))])
    return render_lock_graph(report, None)


def test_a_circle_of_two_threads():
    page = draw(stuck(8, 9), stuck(9, 8))
    assert page.count("<rect") == 2
    assert ">t8 8<" in page
    assert ">Java monitor 0x10<" in page
    assert "deadlock of server[7]: thread 8 (t8) waits for Java monitor 0x10" in page


def test_a_circle_of_two_processes_names_them():
    page = draw(stuck(8, 9, pid=8, text="the end of child b[9]"), stuck(9, 8, pid=9))
    assert ">server[8] 8<" in page


def test_what_is_no_simple_circle_has_no_picture():
    assert draw(stuck(8, 9, 10), stuck(9, 8), stuck(10, 8)) is None
    assert draw(stuck(8, 9), stuck(9)) is None
    assert render_lock_graph(SimpleNamespace(hangs=[]), None) is None


def test_names_are_text():
    page = draw(stuck(8, 9, text="<script>alert(1)</script>"), stuck(9, 8))
    assert "<script>" not in page
