"""`import perimortem`: as another program uses it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import perimortem
from perimortem.model.verdict import Verdict
from perimortem.model.who import WhoKind

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def own_directories(perimortem_directories):
    return perimortem_directories


@pytest.fixture()
def perimortem_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("PERIMORTEM_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PERIMORTEM_DATA_DIR", str(tmp_path / "data"))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_run_returns_the_report(programs, capfd):
    result = perimortem.run([programs / "crash_null"])
    assert result.exit_status == 128 + signal.SIGSEGV
    report = result.report
    assert (report.verdict, report.who.kind) == (Verdict.CRASH, WhoKind.ITSELF)
    assert report.crash.address == "0x10"
    assert "null pointer" in report.examination.reason.text
    assert [dump.error for dump in report.dumps] == [None]
    assert capfd.readouterr() == ("ready\n", "")  # the program alone prints


def test_the_streams_and_the_environment_are_the_commands(tmp_path):
    with open(tmp_path / "out", "wb") as file:
        result = perimortem.run(
            ["sh", "-c", "echo $COLOUR; pwd; exit 3"],
            env={**os.environ, "COLOUR": "green"},
            cwd=tmp_path,
            stdout=file,
        )
    assert result.exit_status == 3
    assert (tmp_path / "out").read_text().split() == ["green", str(tmp_path)]


def test_a_command_that_cannot_be_started_is_a_report(capfd):
    result = perimortem.run(["/no/such/program"])
    assert (result.exit_status, result.report.verdict) == (127, Verdict.LAUNCH_FAILED)
    assert capfd.readouterr().err == ""


def test_a_monitor_that_cannot_work_raises(monkeypatch):
    monkeypatch.setenv("PERIMORTEM_DATA_DIR", "/proc/nowhere")
    with pytest.raises(perimortem.PerimortemError, match="could not watch"):
        perimortem.run(["true"])


def test_run_in_a_thread_leaves_signals_and_children_alone(programs):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD)}
    own = subprocess.Popen(["sh", "-c", "exit 7"])
    results = []
    thread = threading.Thread(
        target=lambda: results.append(perimortem.run([programs / "clean"], stacks=False))
    )
    thread.start()
    thread.join(60)
    assert results[0].report.verdict is Verdict.CLEAN_EXIT
    assert own.wait() == 7  # nothing else has reaped it
    assert {number: signal.getsignal(number) for number in before} == before


def test_run_under_asyncio():
    async def both():
        return await asyncio.gather(
            perimortem.run_async(["sh", "-c", "exit 1"]),
            perimortem.run_async(["sh", "-c", "exit 2"]),
        )

    first, second = asyncio.run(both())
    assert (first.exit_status, second.exit_status) == (1, 2)


def test_a_cancelled_run_ends_its_command(tmp_path):
    pid_file = tmp_path / "pid"

    async def cancel():
        task = asyncio.create_task(
            perimortem.run_async(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"])
        )
        while not (pid_file.exists() and pid_file.read_text()):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not Path(f"/proc/{int(pid_file.read_text())}").exists()


def test_watch_yields_each_end(start):
    program = start(["sh", "-c", "echo ready; read line; exit 4"], stdin=subprocess.PIPE)
    reports = []
    thread = threading.Thread(target=lambda: reports.extend(perimortem.watch(program.pid)))
    thread.start()
    run_dir = Path(os.environ["PERIMORTEM_RUN_DIR"])
    deadline = time.monotonic() + 30
    while not _is_held(program.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    program.popen.stdin.close()
    program.popen.wait()
    thread.join(60)
    (report,) = reports
    assert report.target.pid == program.pid
    assert report.exit.code in (4, None)
    assert run_dir is not None


def _is_held(pid):
    """A monitor holds a pidfd of it."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and b"watch" in (process / "cmdline").read_bytes():
                for info in (process / "fdinfo").iterdir():
                    if f"Pid:\t{pid}\n" in info.read_text():
                        return True
        except OSError:
            continue
    return False


def test_watch_of_nothing_raises():
    with pytest.raises(perimortem.PerimortemError, match="there is no process 999999999"):
        list(perimortem.watch(999999999))


def test_dump_and_what_is_in_it(start, tmp_path):
    program = start("many_threads", 3)
    found = perimortem.dump(program.pid, tmp_path / "x.dmp", type="full")
    assert found.path == str(tmp_path / "x.dmp")
    with perimortem.open_dump(found.path) as dump:
        assert dump.pid == program.pid
        assert len(dump.threads) == found.thread_count == 4
        assert dump.modules[0].path.endswith("many_threads")
        assert dump.read(dump.modules[0].base, 4) == b"\x7fELF"
        assert dump.handles
        assert dump.exception is None
    with pytest.raises(perimortem.PerimortemError, match="is closed"):
        dump.read(dump.modules[0].base, 4)


def test_stacks_of_a_process_and_of_its_dump_agree(start, tmp_path):
    program = start("many_threads", 1)
    path = perimortem.dump(program.pid, tmp_path).path
    live = perimortem.stacks(program.pid)
    dead = perimortem.stacks(path)
    assert [t.tid for t in live] == [t.tid for t in dead]
    assert [f.function for f in live[0].frames] == [f.function for f in dead[0].frames]


def test_errors_name_what_and_remedy():
    with pytest.raises(perimortem.PerimortemError, match="there is no process 999999999"):
        perimortem.dump(999999999)
    with pytest.raises(perimortem.PerimortemError, match=r"cannot read /no/such\.dmp"):
        perimortem.analyze("/no/such.dmp")
    with pytest.raises(perimortem.PerimortemError, match="not an exit code"):
        perimortem.explain("nonsense")


def test_explain():
    assert (perimortem.explain(137).name, perimortem.explain("SIGBUS").signal) == ("SIGKILL", 7)
    assert "FAST_FAIL" in perimortem.explain(0xC0000409, 7).detail


def test_incidents(programs):
    perimortem.run([programs / "crash_null"])
    perimortem.run(["false"])
    perimortem.run(["true"])
    assert [i.verdict for i in perimortem.incidents()] == [Verdict.CRASH, Verdict.FAILED_EXIT]
    assert len(list(perimortem.incidents(with_clean=True))) == 3
    (crash,) = perimortem.incidents(name="crash_null")
    assert perimortem.analyze(crash.dumps[0].path).signature == crash.examination.signature


def test_an_incident_by_its_number_and_the_newest(programs):
    with pytest.raises(perimortem.PerimortemError, match="no incidents yet"):
        perimortem.incident()
    crashed = perimortem.run([programs / "crash_null"], stacks=False).report
    perimortem.run(["true"])
    assert perimortem.incident() == crashed
    assert perimortem.incident(crashed.id + 1).verdict is Verdict.CLEAN_EXIT
    with pytest.raises(perimortem.PerimortemError, match="no incident 99"):
        perimortem.incident(99)


def test_an_incident_that_a_newer_version_wrote_hides_no_other(own_directories):
    for _ in range(2):
        perimortem.run(["false"], stacks=False)
    database = sqlite3.connect(own_directories / "data" / "incidents.db")
    with database:
        database.execute(
            "UPDATE incident SET report = json_set(report, '$.verdict', 'abducted') WHERE id = 1"
        )
    database.close()
    with pytest.warns(UserWarning, match="incident 1 cannot be read"):
        assert [report.id for report in perimortem.incidents()] == [2]
    with pytest.raises(perimortem.PerimortemError, match="newer version"):
        perimortem.incident(1)


def test_importing_it_loads_nothing():
    """Programs that only attach pay for the agent alone."""
    code = (
        "import sys; import perimortem; before = set(sys.modules); "
        "print(sorted(m for m in before if m.startswith('perimortem'))); "
        "assert callable(perimortem.dump) and callable(perimortem.analyze)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "['perimortem']", output.stderr


def test_every_public_name_is_there_and_documented():
    for name in perimortem.__all__:
        value = getattr(perimortem, name)
        assert name == "__version__" or value.__doc__, name


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "library").glob("*.py")), ids=str)
def test_the_examples_run(path, programs, tmp_path):
    result = subprocess.run(
        [sys.executable, path, "--self-test", programs], capture_output=True, text=True, cwd=tmp_path,
        timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["ok"] is True
