"""What earlier monitors left in the run directory, and what is left alone."""

from __future__ import annotations

from perimortem.monitor import incident_store
from perimortem.monitor.incident_store import WrittenStore
from perimortem.monitor.sweep import sweep_run_dir

GONE = 1 << 30
"""No system gives a process such a number."""


def test_the_socket_of_its_own_monitor_stays_also_after_that_was_killed(tmp_path):
    """Programs that live on record for the next monitor as long as there is one."""
    for pid in (GONE, GONE + 1):
        (tmp_path / f"{pid}.sock").touch()
    sweep_run_dir(tmp_path, GONE)
    assert [path.name for path in tmp_path.iterdir()] == [f"{GONE}.sock"]
    sweep_run_dir(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_watch_ends_also_if_no_descriptor_is_left(monkeypatch):
    def refuse():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(incident_store, "open_selector", refuse)
    WrittenStore.__new__(WrittenStore).finish()
