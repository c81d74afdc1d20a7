"""Members of a tree that are found just before their end, and stray files beside their recorders."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack

from perimortem.errors import ProcessGone
from perimortem.monitor import discovery as discovery_module
from perimortem.monitor.base import open_base
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.settings import Settings
from perimortem.monitor.tree import ProcessTree


def test_a_child_that_could_not_be_held_may_be_taken_later(tmp_path, monkeypatch):
    """It had ended between the listing and the hold; its recorder appeared after that."""
    child = subprocess.Popen(["sleep", "60"])
    with ExitStack() as stack:
        stack.callback(child.wait)
        stack.callback(child.kill)
        base = open_base(stack)
        targets = base.targets
        tree = ProcessTree(targets)
        discovery = Discovery(tree, Settings(tmp_path, tmp_path), base)
        with monkeypatch.context() as patch:
            patch.setattr(discovery_module, "open_exit_watch", _raise_gone)
            assert not discovery.take_new(child.pid, 0)
        assert (tree.process_count, len(targets)) == (0, 0)
        assert discovery.take_new(child.pid, 0)
        assert (tree.process_count, [target.pid for target in targets]) == (1, [child.pid])


def _raise_gone(*_arguments, **_options):
    raise ProcessGone("it has ended")


def test_a_stray_file_in_the_run_directory_stops_nothing(perimortem):
    perimortem.run_dir.mkdir(mode=0o700)
    for name in ("²-1.rec", "1-².rec", "99999999999-1.rec", "..rec"):
        (perimortem.run_dir / name).write_text("")
    assert perimortem.call("run", "-q", "--", "sh", "-c", "exit 3").returncode == 3


def test_two_dumps_to_one_name_do_not_meet(perimortem, start, tmp_path):
    program = start("many_threads", 4)
    path = tmp_path / "x.dmp"
    both = [perimortem.start("dump", program.pid, "-o", path) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    statuses = sorted(process.returncode for process in both)
    assert statuses in ([0, 1], [0, 0]), said
    assert perimortem.call("inspect", path).returncode == 0
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []
