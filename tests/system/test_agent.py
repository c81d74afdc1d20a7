"""The agent inside real programs: what it leaves behind in every case, and that it never harms."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, await_true

from perimortem.agent.library import find_library, find_preload_library
from perimortem.model.process import ProcessRef
from perimortem.proc import find_process
from perimortem.recorder import RecorderFile
from perimortem.recorder.decode import decode_recording

pytestmark = pytest.mark.system

NEVER = 1 << 62


def read(path):
    return decode_recording(Path(path).read_bytes(), NEVER)


def test_writers_killed_in_mid_store_leave_whole_events_or_none(start):
    """Four threads emit without pause and die by SIGKILL, 40 times; every event left is whole."""
    seen = 0
    for _ in range(40):
        program = start("torn_writer")
        path = Path(program.first_line)
        living = read(path)  # while it is written and lapped
        program.popen.kill()
        program.popen.wait()
        for recording in (living, read(path)):
            for event in recording.events:
                if event.name == "torn":
                    payload = json.loads(event.payload)
                    assert len(payload["fill"]) == payload["size"]
                    assert set(payload["fill"]) <= {chr(ord("a") + payload["i"] % 26)}
                    seen += 1
    assert seen > 1000


def test_recorder_is_private_and_named_after_the_process(start, perimortem):
    program = start("beats")
    ref = find_process(program.pid)
    path = perimortem.run_dir / f"{ref.pid}-{ref.start_time_ticks}.rec"
    assert path.stat().st_mode & 0o777 == 0o600
    assert perimortem.run_dir.stat().st_mode & 0o777 == 0o700
    recorder = RecorderFile(path, ProcessRef(ref.pid, ref.start_time_ticks))
    await_true(
        lambda: {beat.name for beat in recorder.read_pulse(NEVER).heartbeats} == {"main", "process"}
    )
    recorder.close()


def test_stats_come_once_a_second(start, perimortem):
    program = start("beats")
    (path,) = perimortem.run_dir.glob(f"{program.pid}-*.rec")
    await_true(lambda: sum(e.name == "system.stats" for e in read(path).events) >= 3)
    stats = [event for event in read(path).events if event.name == "system.stats"]
    gap_s = (stats[2].monotonic_ns - stats[1].monotonic_ns) / 1e9
    assert 0.5 < gap_s < 1.5
    payload = json.loads(stats[0].payload)
    assert payload["threads"] == 2
    assert payload["rss_bytes"] > 100_000
    assert payload["fds"] >= 3


def test_it_does_nothing_where_it_may_not_write(start, programs, tmp_path):
    for run_dir in ("/proc/nowhere", "/dev/null"):
        result = subprocess.run(
            [programs / "pause_extend", "pause"], env={**os.environ, "PERIMORTEM_RUN_DIR": run_dir}
        )
        assert result.returncode == 0
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)  # a directory in which others could replace our file
    subprocess.run(
        [programs / "pause_extend", "pause"],
        env={**os.environ, "PERIMORTEM_RUN_DIR": str(shared)},
        check=True,
    )
    assert list(shared.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_tmpfs_means_no_recorder_never_a_sigbus(programs, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk], check=True)
    try:
        result = subprocess.run(
            [programs / "pause_extend", "pause"],
            env={**os.environ, "PERIMORTEM_RUN_DIR": str(disk)},
        )
        assert result.returncode == 0
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_size_limit_is_no_death(programs, perimortem):
    result = subprocess.run(
        ["sh", "-c", f"ulimit -f 1; exec {programs}/pause_extend pause"], env=perimortem.env
    )
    assert result.returncode == 0


def test_preload_into_many_programs_of_the_system(perimortem):
    """Each behaves as without us: same output, same status."""
    for argv in (
        ["true"], ["ls", "/"], ["cat", "/proc/self/comm"], ["bash", "-c", "echo $((6*7)); exit 3"],
        ["env", "true"], ["sh", "-c", "printf x | cat"], ["timeout", "5", "true"],
        ["grep", "-c", "root", "/etc/passwd"], ["find", "/etc/hostname"], ["awk", "BEGIN{print 3}"],
        ["setsid", "-w", "true"], ["stdbuf", "-o0", "echo", "x"], ["nice", "echo", "n"],
        [sys.executable, "-c", "import subprocess; print(subprocess.check_output(['echo', 'a']))"],
    ):  # fmt: skip
        plain = subprocess.run(argv, capture_output=True, text=True)
        ours = perimortem.call("run", "-q", "--", *argv)
        assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout), argv


def test_without_follow_it_stays_out_of_children(perimortem, programs):
    """Only the started process has a recorder; its children lose the preload at their exec."""
    script = (
        "ls $PERIMORTEM_RUN_DIR/*.rec | wc -l; sh -c 'echo ${LD_PRELOAD:-none}'; "
        "env | grep -c LD_PRE"
    )
    result = perimortem.call("run", "-q", "--no-follow", "--", "sh", "-c", script)
    assert result.stdout.split() == ["1", "none", "0"]
    python = "import os, subprocess; print(os.environ['LD_PRELOAD'] != ''); subprocess.run(['env'])"
    result = perimortem.call("run", "-q", "--no-follow", "--", sys.executable, "-c", python)
    assert "LD_PRELOAD" not in result.stdout


def test_an_existing_preload_is_kept(perimortem):
    existing = str(find_library())
    perimortem.environment["LD_PRELOAD"] = existing
    result = perimortem.call("run", "-q", "--", "sh", "-c", "echo $LD_PRELOAD")
    assert result.stdout.strip() == f"{existing}:{find_preload_library()}"


@pytest.mark.parametrize("program", ["harmless_seccomp", "harmless_small_stack"])
@pytest.mark.parametrize("how", ["kill", "refuse"])
def test_a_program_in_a_sandbox_or_on_a_small_stack_ends_as_without_us(
    perimortem, programs, program, how
):
    argv = [programs / program, how]
    plain = subprocess.run(argv, capture_output=True)
    ours = perimortem.report(*argv)
    assert ours["_status"] == plain.returncode
    assert ours["silent"] is False


@pytest.mark.parametrize("mode", ["fork", "spawn", "exit", "abort"])
def test_hooks_work_before_our_constructor_has_run(perimortem, programs, mode):
    environment = {**os.environ, "MODE": mode}
    plain = subprocess.run([programs / "early"], env=environment, capture_output=True, text=True)
    perimortem.environment["MODE"] = mode
    ours = perimortem.call("run", "-q", "--", programs / "early")
    expected = plain.returncode if plain.returncode >= 0 else 128 - plain.returncode
    assert (ours.returncode, ours.stdout) == (expected, plain.stdout)


def test_an_exec_under_a_filter_goes_on_without_the_agent(perimortem, programs):
    report = perimortem.report(programs / "exec_under_seccomp")
    assert (report["verdict"], report["_status"], report["silent"]) == ("clean-exit", 0, None)


def test_a_child_that_execs_by_a_raw_system_call_is_left_alone_too(perimortem, programs):
    argv = [programs / "raw_exec_child", programs / "asan_program"]
    assert perimortem.call("run", "-q", "--", *argv).returncode == 7


def test_a_preloaded_program_has_the_threads_and_descriptors_that_it_made(perimortem):
    """One thread: unshare works, glibc keeps its single-threaded speed, no number is taken."""
    script = (
        "import os\n"
        "print(len(os.listdir('/proc/self/task')))\n"
        "os.close(0); print(os.open('/dev/null', os.O_RDONLY))\n"
    )
    result = perimortem.call("run", "-q", "--", sys.executable, "-c", script)
    assert result.stdout.split() == ["1", "0"]
    if os.geteuid() == 0:
        assert perimortem.call("run", "-q", "--", "unshare", "-r", "true").returncode == 0
        argv = ["setpriv", "--reuid", "65534", "--clear-groups", "sh", "-c", "exit 3"]
        assert perimortem.call("run", "-q", "--", *argv).returncode == 3


def test_the_thread_of_an_opened_recorder_takes_no_descriptor_and_ends_with_the_last_other(
    programs, perimortem
):
    argv = [programs / "thread_manners"]
    result = subprocess.run(argv, env=perimortem.env, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout) == (0, "stolen 0\nlast thread\n")


def test_no_symbol_is_newer_than_glibc_2_17():
    for library in (find_library(), find_preload_library()):
        text = subprocess.run(
            ["readelf", "--version-info", "-W", library], capture_output=True, text=True, check=True
        ).stdout
        versions = [tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([0-9.]+)", text)]
        assert versions
        assert max(versions) <= (2, 17), library


def test_the_c_api_exports_what_its_header_declares():
    header = (ROOT / "native" / "include" / "perimortem.h").read_text()
    declared = set(re.findall(r"PERIMORTEM_API .*?(perimortem_\w+)\(", header))
    text = subprocess.run(
        ["readelf", "--dyn-syms", "-W", find_library()], capture_output=True, text=True, check=True
    ).stdout
    exported = set(re.findall(r"GLOBAL DEFAULT +\d+ (perimortem_\w+)", text))
    assert declared == exported


PYTHON_AGENT = """
import json, os, sys, perimortem
with perimortem.attach("trainer", threshold=5) as hb:
    assert hb.error == "", hb.error
    hb.beat()
    hb.emit("train.step", step=3, loss=0.5)
    hb.emit("too.long", text="x" * 1000)
    hb.emit("odd", value=object, text="\\0\\ud800")
    loader = hb.heartbeat("loader", threshold=1)
    loader.pause(); loader.resume(); loader.extend(3); loader.beat()
    print(hb._native.library.perimortem_recorder_path().decode(), flush=True)
    sys.stdin.readline()
"""


def test_python_attach(start):
    program = start([sys.executable, "-c", PYTHON_AGENT], stdin=subprocess.PIPE)
    path = Path(program.first_line)
    await_true(lambda: len(read(path).pulse.heartbeats) == 4)
    beats = {beat.name: beat for beat in read(path).pulse.heartbeats}
    assert set(beats) == {"process", "python", "trainer", "loader"}
    assert beats["trainer"].beaten
    assert beats["trainer"].threshold_ns == 5_000_000_000
    assert beats["loader"].hold_until_ns > 0
    events = {event.name: event for event in read(path).events}
    assert json.loads(events["train.step"].payload) == {"step": 3, "loss": 0.5}
    assert "oversize_bytes" in json.loads(events["too.long"].payload)
    assert "odd" in events
    program.popen.stdin.close()
    assert program.popen.wait() == 0
    recording = read(path)
    assert recording.pulse.goodbye_ns is not None
    assert "trainer" not in {beat.name for beat in recording.pulse.heartbeats}


def test_python_attach_never_raises(tmp_path):
    script = (
        "import perimortem\n"
        "hb = perimortem.attach('x' * 500, threshold=float('nan'))\n"
        "hb.beat(); hb.emit('e', a=1); hb.pause(); hb.resume(); hb.extend(1); hb.goodbye(3)\n"
        "hb.heartbeat('y').beat(); hb.close(); print('fine', hb.error)\n"
    )
    for environment in (
        {"PERIMORTEM_RUN_DIR": "/proc/nowhere"},
        {"PERIMORTEM_RUN_DIR": str(tmp_path / "run")},
    ):
        result = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("fine")


def test_an_exception_that_leaves_the_block_is_the_last_event(perimortem):
    script = (
        "import perimortem\n"
        "with perimortem.attach('job') as hb:\n    hb.beat(); raise ValueError('no such tensor')"
    )
    report = perimortem.report(sys.executable, "-c", script)
    assert report["verdict"] == "failed-exit"
    assert report["last_event"]["name"] == "python.exception"
    assert report["last_event"]["payload"]["message"] == "no such tensor"


def test_a_forked_python_child_leaves_its_parents_words_alone(start):
    script = (
        "import os, sys, perimortem\n"
        "hb = perimortem.attach('main'); hb.beat()\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    for _ in range(1000): hb.beat()\n"
        "    hb.emit('from.child'); os.write(w, b'x'); os._exit(0)\n"
        "os.read(r, 1); os.wait()\n"
        "print(hb._native.library.perimortem_recorder_path().decode(), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    program = start([sys.executable, "-c", script], stdin=subprocess.PIPE)
    recording = read(program.first_line)
    (main,) = [beat for beat in recording.pulse.heartbeats if beat.name == "main"]
    child_time = Path(f"/proc/{program.pid}/stat")
    assert child_time.exists()
    assert "from.child" not in {event.name for event in recording.events}
    assert main.beat_ns < max(beat.beat_ns for beat in recording.pulse.heartbeats) + 10**9
    program.popen.send_signal(signal.SIGKILL)


def test_the_cmake_project_installs_for_find_package_and_pkg_config(tmp_path):
    import shutil

    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    prefix = tmp_path / "prefix"
    build = tmp_path / "build"

    def run(*argv):
        result = subprocess.run(argv, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr

    run("cmake", "-S", ROOT / "native", "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}")
    run("cmake", "--build", build)
    run("cmake", "--install", build)
    project = tmp_path / "user"
    project.mkdir()
    (project / "main.cc").write_text(
        "#include <perimortem.h>\nint main() { perimortem_open(); perimortem_beat(-1); }\n"
    )
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(user CXX)\n"
        "find_package(perimortem REQUIRED)\nadd_executable(user main.cc)\n"
        "target_link_libraries(user PRIVATE perimortem::perimortem)\n"
    )
    run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", project / "build")
    run(project / "build" / "user")
    if shutil.which("pkg-config"):
        (path,) = prefix.rglob("perimortem.pc")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(path.parent)}
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "perimortem"],
            capture_output=True, text=True, env=environment, check=True,
        ).stdout  # fmt: skip
        assert "-lperimortem" in flags


def test_the_programs_last_word_stays_however_many_statistics_follow(perimortem):
    code = (
        "import perimortem\n"
        "hb = perimortem.attach('trainer')\n"
        "hb.emit('train.step', step=3)\n"
        "for i in range(30): hb.emit('system.stats', i=i)\n"
    )
    report = perimortem.report(sys.executable, "-c", code)
    assert report["last_event"]["name"] == "train.step"
    assert [event["name"] for event in report["recent_events"]] == ["system.stats"] * 20
