"""`perimortem watch`: what runs already, by pid, name and unit; and `perimortem config`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import read_line_with

pytestmark = pytest.mark.system


def test_a_deadlock_of_an_unrelated_process(perimortem, start):
    program = start("deadlock")
    process = perimortem.start("watch", "--threshold", "3", "--no-stacks", program.pid)
    assert f"deadlock[{program.pid}]" in read_line_with(process.stderr, "HANG")
    assert "deadlock of 2 threads of" in read_line_with(process.stderr, "hang ")
    assert program.popen.poll() is None
    process.terminate()
    process.communicate(timeout=20)


def test_children_are_followed_when_asked(perimortem, start, programs):
    """Found by a sample each second: a child that lives longer than that is not missed."""
    script = f"echo ready; read line; sh -c 'sleep 3; exec {programs}/crash_null'; read line"
    program = start(["sh", "-c", script], stdin=subprocess.PIPE)
    process = perimortem.start("watch", "--follow", program.pid)
    read_line_with(process.stderr, "watching sh")
    program.popen.stdin.write("go\n")
    program.popen.stdin.flush()
    assert "[" in read_line_with(process.stderr, "CRASH")
    program.popen.stdin.close()
    assert "sh[" in process.communicate(timeout=20)[1]


@pytest.fixture()
def unit():
    """A control group named as systemd names a service's."""
    for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (root / "cgroup.procs").exists() and os.access(root / "cgroup.procs", os.W_OK):
            directory = root / f"perimortem-test-{os.getpid()}.service"
            try:
                directory.mkdir()
            except OSError:
                continue
            yield directory
            with contextlib.suppress(OSError):
                directory.rmdir()
            return
    pytest.skip("no writable control group hierarchy")


def test_the_processes_of_a_unit_and_those_that_come_later(perimortem, start, unit):
    first = start("many_threads", 1)
    (unit / "cgroup.procs").write_text(str(first.pid))
    process = perimortem.start("watch", "--unit", unit.name.removesuffix(".service"), "--follow")
    read_line_with(process.stderr, f"watching many_threads[{first.pid}]")
    first.popen.send_signal(signal.SIGKILL)
    first.popen.wait()
    read_line_with(process.stderr, f"KILLED  many_threads[{first.pid}]")
    # The unit was restarted.
    second = start("many_threads", 1)
    (unit / "cgroup.procs").write_text(str(second.pid))
    read_line_with(process.stderr, f"watching many_threads[{second.pid}]")
    process.send_signal(signal.SIGINT)
    assert "keeps running; the watch has ended" in process.communicate(timeout=20)[1]
    second.popen.kill()
    second.popen.wait()


def test_config_shows_every_value_and_its_origin(perimortem, tmp_path):
    (tmp_path / "perimortem").mkdir()
    (tmp_path / "perimortem" / "config.toml").write_text("grace = 5\n[threshold]\nrender = 0.5\n")
    perimortem.environment |= {"XDG_CONFIG_HOME": str(tmp_path), "PERIMORTEM_ON_HANG": "abort"}
    text = perimortem.call("config").stdout
    line = next(line for line in text.splitlines() if line.startswith("grace"))
    assert line.split() == ["grace", "5", f"{tmp_path}/perimortem/config.toml:1"]
    document = json.loads(perimortem.call("config", "--json").stdout)
    assert document["threshold.render"]["value"] == 0.5
    assert document["on-hang"] == {"value": "abort", "origin": "PERIMORTEM_ON_HANG"}
    assert document["data-dir"]["origin"] == "PERIMORTEM_DATA_DIR"


def test_settings_are_obeyed(perimortem, tmp_path, programs):
    settings = tmp_path / "s.toml"
    settings.write_text(
        "threshold = 3\non-hang = 'kill'\nstacks = false\ndump-type = 'none'\nfollow = false\n"
    )
    result = perimortem.call("run", "--config", settings, "--", programs / "deadlock")
    assert result.returncode == 124
    assert "and what comes from it" not in result.stderr
    settings.write_text("threshold = 'soon'\n")
    result = perimortem.call("run", "--config", settings, "--", "true")
    assert result.returncode == 2
    assert f"{settings}:1: threshold must be" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_source_that_a_running_process_cannot_have_is_refused(perimortem):
    result = perimortem.call("watch", "--beat-from", "output", os.getpid())
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    result = perimortem.call("run", "--beat-from", "moon", "--", sys.executable)
    assert "'moon' is not agent, progress" in result.stderr


def test_several_names_are_watched_at_once(perimortem, programs, start, tmp_path):
    names = []
    for name in ("first_of_two", "second_of_two"):
        (tmp_path / name).symlink_to(programs / "many_threads")
        names.append(start([str(tmp_path / name), "1"]))
    process = perimortem.start("watch", "--name", "first_of_t*", "--name", "second_of_two")
    said = [process.stderr.readline(), process.stderr.readline()]
    for program in names:
        assert any(f"[{program.pid}]" in line for line in said), said
    process.terminate()
    process.communicate(timeout=20)


def test_a_crash_that_is_only_watched_says_why_there_is_no_dump(perimortem, start):
    program = start(["sh", "-c", "echo ready; read line; kill -SEGV $$"], stdin=subprocess.PIPE)
    process = perimortem.start("watch", program.pid)
    read_line_with(process.stderr, "watching sh")
    program.popen.stdin.close()
    _, stderr = process.communicate(timeout=20)
    assert "CRASH" in stderr or "KILLED" in stderr
    if "CRASH" in stderr:
        assert "no dump: from outside a crash is seen only once the process is gone" in stderr
        assert "perimortem run" in stderr


def test_config_shows_the_limits_that_hold(perimortem):
    lines = {
        line.split()[0]: line.split(maxsplit=1)[1]
        for line in perimortem.call("config").stdout.splitlines()
    }
    assert re.match(r"[0-9.]+ GiB  +default", lines["max-use"])
    assert re.match(r"[0-9.]+ GiB  +default", lines["keep-free"])
    assert lines["max-age"].startswith("30d ")
