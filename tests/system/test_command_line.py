"""The command line as a user meets it: statuses, streams, bad input, and its documented report."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

pytestmark = pytest.mark.system

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())


def one_line(result, status):
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("Usage:", "Try "))]
    assert len([line for line in lines if line.strip()]) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (["clean"], ()), (["exit_status", "3"], ()), (["crash_null"], ()),
        (["exit_in_library"], ()), (["static_program"], ()), (["hang_once", "0.2", "0.6"], ()),
        (["hang_once", "0.2", "0.6"], ("--dump-type", "none", "--no-stacks")),
    ],
)  # fmt: skip
def test_every_report_keeps_the_documented_schema(perimortem, programs, argv, options):
    report = perimortem.report(programs / argv[0], *argv[1:], options=options)
    del report["_status"], report["_stderr"]
    jsonschema.validate(report, SCHEMA, format_checker=jsonschema.FormatChecker())
    stored = json.loads(perimortem.call("show", report["id"], "--json").stdout)
    assert stored == report


def test_the_report_of_a_launch_failure_keeps_it_too(perimortem):
    report = perimortem.report("no-such-program")
    del report["_status"], report["_stderr"]
    jsonschema.validate(report, SCHEMA)


def test_streams_are_untouched(perimortem):
    script = (
        "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1]); "
        "print('e', file=sys.stderr)"
    )
    data = bytes(range(256)) * 4096
    result = subprocess.run(
        [sys.executable, "-m", "perimortem", "run", "-q", "--", sys.executable, "-c", script],
        input=data, capture_output=True, env=perimortem.env,
    )  # fmt: skip
    assert result.stdout == data[::-1]
    assert result.stderr == b"e\n"


def test_inherited_descriptors_reach_the_target(perimortem):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    perimortem.call("run", "-q", "--", "bash", "-c", f"echo through >&{write}", close_fds=False)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "through\n"


def test_no_descriptor_of_ours_reaches_the_target(perimortem):
    result = perimortem.call("run", "-q", "--", "sh", "-c", "ls -l /proc/self/fd")
    assert re.findall(r" (\d+) -> (\S+)", result.stdout)[-1][1].startswith("/proc/")
    assert len(re.findall(r" -> ", result.stdout)) == 4


def test_signal_dispositions_and_mask_are_as_without_us(perimortem):
    command = ["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    plain = subprocess.run(command, capture_output=True, text=True).stdout
    ours = perimortem.call("run", "-q", "--no-agent", "--", *command).stdout
    assert ours == plain


def test_ctrl_c_on_a_terminal_reaches_the_target_once(perimortem):
    """Through a real pseudo-terminal: the kernel signals the group, we pass nothing on."""
    script = (
        "import signal, sys, time\n"
        "count = 0\n"
        "def on_int(*_):\n    global count; count += 1\n"
        "signal.signal(signal.SIGINT, on_int)\n"
        "print('ready', flush=True)\n"
        "end = time.monotonic() + 1\n"
        "while time.monotonic() < end: time.sleep(0.01)\n"
        "print('counted', count, flush=True)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(perimortem.env)
        os.execv(
            sys.executable,
            [sys.executable, "-m", "perimortem", "run", "-q", "--", sys.executable, "-c", script],
        )
    output = b""
    while b"ready" not in output:
        output += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while not re.search(rb"counted \d", output):
        output += os.read(terminal, 1024)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert b"counted 1" in output
    assert os.waitstatus_to_exitcode(status) == 0


def test_the_start_line_says_what_is_watched_and_what_cannot_be_seen(perimortem, programs):
    stderr = perimortem.call("run", "--", programs / "clean").stderr
    first, *_ = stderr.splitlines()
    assert re.fullmatch(
        r"perimortem: watching clean\[\d+\] and its children; a hang is reported after 10 s; "
        r"what this cannot see: perimortem run --help",
        first,
    )
    assert "blind" not in stderr
    stderr = perimortem.call("run", "--threshold", "1", "--", programs / "clean").stderr
    assert "after 1 s (3 s for process, progress and python);" in stderr
    stderr = perimortem.call("run", "--", programs / "static_program", "0").stderr
    assert "without the agent (it is statically linked)" in stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["dump", "999999999"], 1, "there is no process"),
        (["dump", "0"], 2, "not in the range"),
        (["dump", "1", "--type", "huge"], 2, "not a dump type"),
        (["dump", "1", "-o", "/no/such/dir/x.dmp"], 1, "there is no directory"),
        (["watch", "redis"], 2, "'redis' is not a process id (did you mean: --name redis)"),
        (["dump", "redis"], 2, "'redis' is not a process id (ps -e lists them)"),
        (["watch"], 2, "either PIDs, or names and units by --name and --unit"),
        (["watch", "--unit", "no-such-unit"], 2, "there is no unit no-such-unit"),
        (["watch", "999999999"], 1, "there is no process"),
        (["inspect", "/no/such.dmp"], 1, "No such file"),
        (["inspect", "/etc/passwd"], 1, "not a minidump"),
        (["inspect", "/dev/null"], 1, "not a regular file"),
        (["inspect", "/"], 1, "directory"),
        (["show", "12345"], 1, "there is no incident 12345"),
        (["show", "redis"], 2, "not the number of an incident (by name: perimortem list redis)"),
        (["list", "--since", "yesterday-ish"], 2, "is not a time"),
        (["explain", "nonsense"], 2, "is not an exit code"),
        (["explain", "139", "7"], 2, "no subcode"),
        (["run", "--threshold", "zero", "--", "true"], 125, "not a number of seconds"),
        (["run", "--report", "/no/such/dir/r.json", "--", "true"], 125, "cannot write"),
        (["frobnicate"], 2, "there is no command 'frobnicate' (perimortem --help lists them)"),
        (["monitr"], 2, "did you mean: perimortem monitor"),
        (["status"], 2, "did you mean: perimortem list"),
    ],
)
def test_bad_input_is_one_clear_line(perimortem, arguments, status, words):
    assert words in one_line(perimortem.call(*arguments), status)


def test_a_data_directory_that_cannot_be_made(perimortem):
    perimortem.environment["PERIMORTEM_DATA_DIR"] = "/proc/nowhere"
    for arguments, status in ((["run", "--must-watch", "--", "true"], 125), (["list"], 1)):
        result = subprocess.run(
            [sys.executable, "-m", "perimortem", *arguments],
            capture_output=True, text=True,
            env={**perimortem.env, "PERIMORTEM_DATA_DIR": "/proc/nowhere"},
        )  # fmt: skip
        assert "cannot create the data directory" in one_line(result, status)


def test_a_run_directory_of_another_user(perimortem, tmp_path):
    shared = tmp_path / "run"
    shared.mkdir()
    shared.chmod(0o777)
    assert "can be written by other users" in one_line(
        perimortem.call("run", "--must-watch", "--", "true"), 125
    )


def test_a_damaged_store_is_reported_and_left_alone(perimortem):
    perimortem.call("run", "-q", "--", "false")
    store = perimortem.data_dir / "incidents.db"
    for path in perimortem.data_dir.glob("incidents.db-*"):
        path.unlink()
    noise = b"noise" * 1000
    store.write_bytes(noise)
    assert "cannot open the incident store" in one_line(perimortem.call("list"), 1)
    strict = perimortem.call("run", "--must-watch", "--", "true")
    assert "cannot open the incident store" in one_line(strict, 125)
    result = perimortem.call("run", "--", "true")
    assert result.returncode == 0
    assert "this report is kept in" in result.stderr
    assert store.read_bytes() == noise


def test_a_recorder_truncated_under_the_monitor_is_reported_and_nothing_is_blamed(
    perimortem, programs
):
    process = perimortem.start(
        "run", "--report", perimortem.base / "r.json", "--", programs / "beats", "main", "0.3"
    )
    assert process.stdout.readline() == "ready\n"
    (path,) = perimortem.run_dir.glob("*.rec")
    copy = perimortem.base / "noise"
    copy.write_bytes(os.urandom(path.stat().st_size))
    copy.rename(path)  # replaced by noise, as a hostile neighbour could
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    report = json.loads((perimortem.base / "r.json").read_text())
    assert (report["verdict"], report["hangs"]) == ("stopped", [])
    assert any("recorder" in error for error in report["soft_errors"])


def test_hostile_names_never_reach_the_terminal_raw(perimortem, programs, tmp_path):
    evil = tmp_path / "a\x1b]0;pwned\x07\nb"
    evil.write_bytes((programs / "exit_status").read_bytes())
    evil.chmod(0o755)
    for arguments in (["run", "--", evil], ["list"], ["show", "1"]):
        result = perimortem.call(*arguments)
        assert "\x1b]" not in result.stdout + result.stderr
        assert "\x07" not in result.stdout + result.stderr


def test_incidents_are_listed_filtered_and_shown(perimortem, programs):
    perimortem.call("run", "-q", "--", programs / "clean")
    perimortem.call("run", "-q", "--", programs / "crash_null")
    perimortem.call("run", "-q", "--", programs / "exit_status")
    rows = json.loads(perimortem.call("list", "--json").stdout)
    assert [row["verdict"] for row in rows] == ["crash", "failed-exit"]
    assert len(json.loads(perimortem.call("list", "--json", "--all").stdout)) == 3
    assert len(json.loads(perimortem.call("list", "--json", "--since", "1h").stdout)) == 2
    assert json.loads(perimortem.call("list", "--json", "--until", "2020-01-01").stdout) == []
    assert len(json.loads(perimortem.call("list", "--json", "crash_null").stdout)) == 1
    pid = rows[0]["pid"]
    assert len(json.loads(perimortem.call("list", "--json", pid).stdout)) == 1
    table = perimortem.call("list").stdout
    assert "VERDICT" in table
    assert "crash_null" in table
    shown = perimortem.call("show", rows[0]["number"]).stdout
    assert "CRASH" in shown
    assert "[observed: waitid]" in shown
    assert "program " in shown


def test_doctor_answers_every_question(perimortem):
    checks = json.loads(perimortem.call("doctor", "--json").stdout)
    assert {"agent", "pidfd", "dump of a child", "proc connector", "tracefs", "core_pattern"} <= {
        check["name"] for check in checks
    }
    needed = [check for check in checks if check["importance"] == "needed"]
    assert needed
    assert all(check["ok"] for check in needed)
    assert all(check["remedy"] for check in checks if not check["ok"])
    assert perimortem.call("doctor").stdout.count("\n") >= len(checks)


def test_explain_prints_one_line_and_json(perimortem):
    assert perimortem.call("explain", "139").stdout.startswith("139  SIGSEGV: segmentation fault")
    assert perimortem.call("explain", "-11").stdout.startswith("-11  SIGSEGV")
    assert "FAST_FAIL_FATAL_APP_EXIT" in perimortem.call("explain", "0xC0000409", "7").stdout
    assert json.loads(perimortem.call("explain", "SIGBUS", "--json").stdout)["signal"] == 7


def test_every_command_has_help_with_an_example(perimortem):
    listed = perimortem.call("--help").stdout
    for name in ("run", "watch", "dump", "inspect", "list", "show", "explain", "doctor"):
        assert f"  {name} " in listed
        text = perimortem.call(name, "--help").stdout
        assert f"perimortem {name}" in text.split("Examples:")[1]
        assert "--json" in text


def test_the_run_directory_is_left_clean(perimortem, programs):
    for name in ("clean", "crash_null", "exit_in_library"):
        perimortem.call("run", "-q", "--", programs / name)
    assert list(perimortem.run_dir.iterdir()) == []


def test_nothing_is_left_running(perimortem, programs):
    perimortem.call("run", "-q", "--", programs / "hang_once", "0.2", "0.5")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert "perimortem/dumping/worker.py" not in path.read_text() or _parent_is_alive(path)
        except OSError:
            continue


def _parent_is_alive(path):
    return int((path.parent / "stat").read_text().rpartition(")")[2].split()[1]) != 1


def test_show_without_a_number_is_the_newest_of_list(perimortem):
    perimortem.call("run", "-q", "--", "false")
    perimortem.call("run", "-q", "--", "true")
    assert perimortem.call("show").stdout.startswith("1: FAILED EXIT  false")


def test_help_and_version_are_commands_as_well(perimortem):
    assert perimortem.call("help", "run").stdout == perimortem.call("run", "--help").stdout
    assert perimortem.call("help").stdout == perimortem.call("--help").stdout
    assert perimortem.call("version").stdout == perimortem.call("--version").stdout


def test_explain_says_what_usually_sends_a_signal(perimortem):
    stdout = perimortem.call("explain", "137").stdout
    assert "out-of-memory killer" in stdout
    assert "OOMKilled" in stdout
    document = json.loads(perimortem.call("explain", "137", "--json").stdout)
    assert any("dmesg" in line for line in document["advice"])


def test_a_clean_exit_is_not_worth_a_line_when_quiet(perimortem):
    result = perimortem.call("run", "--json", "--quiet", "--", "true")
    assert (result.stdout, result.stderr) == ("", "")


def test_list_as_json_says_who_where_and_why(perimortem, programs):
    perimortem.call("run", "-q", "--", programs / "faults", "null-field")
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert row["who"]["kind"] == "itself"
    assert "SIGSEGV" in row["where"]["text"]
    assert "null pointer" in row["why"]
    assert "write_field" in row["signature"]


def test_list_of_a_name_that_may_be_a_time(perimortem):
    perimortem.call("run", "-q", "--", "false")
    stderr = perimortem.call("list", "yesterday").stderr
    assert 'no incidents of a process named "yesterday"' in stderr
    assert "--since 1d" in stderr


def test_a_report_of_version_1_is_still_shown(perimortem):
    """As the first release stored it."""
    perimortem.call("run", "-q", "--", "sh", "-c", "exit 3")
    with sqlite3.connect(perimortem.data_dir / "incidents.db") as store:
        (text,) = store.execute("SELECT report FROM incident").fetchone()
        report = json.loads(text)
        old = {
            **{key: value for key, value in report.items() if key != "who"},
            "schema_version": 1,
            "where": report["where"]["text"],
            "evidence": [
                {key: fact[key] for key in ("fact", "source", "confidence")}
                for fact in report["evidence"]
            ],
            "processes": [
                {**process, "exit": process["exit"]["text"], "where": None}
                for process in report["processes"]
            ],
        }
        store.execute("UPDATE incident SET report = ?", (json.dumps(old),))
    store.close()
    shown = json.loads(perimortem.call("show", "--json", 1).stdout)
    jsonschema.validate(shown, SCHEMA)
    assert shown["schema_version"] == 2
    assert shown["who"]["confidence"] == "derived"
    assert "_exit called in" in perimortem.call("show", 1).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_by_the_documented_variable(perimortem, shell):
    result = perimortem.call("completion", shell)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"_PERIMORTEM_COMPLETE={shell}_complete" in result.stdout


def test_bash_takes_the_script(perimortem):
    script = perimortem.call("completion", "bash").stdout
    result = subprocess.run(
        ["bash", "-c", f"{script}\ncomplete -p perimortem"], capture_output=True, text=True
    )
    assert result.stderr == ""
    assert "-F _perimortem_completion perimortem" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("perimortem ru", ["plain,run"]),
        ("perimortem run --on-hang ab", ["plain,abort"]),
        ("perimortem run --propagate", ["plain,--propagate-signal"]),
        ("perimortem completion f", ["plain,fish"]),
    ],
)
def test_completion_offers_what_a_word_can_become(perimortem, words, expected):
    perimortem.environment |= {
        "_PERIMORTEM_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    assert perimortem.call().stdout.splitlines() == expected
