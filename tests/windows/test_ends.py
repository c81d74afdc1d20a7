"""Every way to end, by real programs: the verdict, the code, and the text."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from perimortem.winapi.version import read_wine_version
from windows.ends import ENDS, End

ROOT = Path(__file__).resolve().parent.parent.parent
IS_WINE = read_wine_version() is not None


@pytest.mark.parametrize("end", ENDS, ids=lambda end: " ".join((end.program, *end.arguments)))
def test_verdict_and_code(end: End, perimortem, programs):
    expected = end.wine if IS_WINE and end.wine else end.windows
    report = perimortem.report(programs / f"{end.program}.exe", *end.arguments)
    assert report["exit"]["code"] == expected.code
    assert report["verdict"] == expected.verdict
    assert report["_status"] == expected.code, "the code is passed on with all its 32 bits"
    assert report["exit"]["source"] == "GetExitCodeProcess"
    assert report["target"]["name"] == f"{end.program}.exe"


def test_the_report_keeps_its_schema(perimortem, programs):
    import json

    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    for name in ("crash_null", "exit_in_library_beating", "terminate_beating"):
        report = perimortem.report(programs / f"{name}.exe")
        Draft202012Validator(schema).validate(
            {key: value for key, value in report.items() if not key.startswith("_")}
        )


def test_the_library_that_ended_it_is_named(perimortem, programs):
    report = perimortem.report(programs / "exit_in_library_beating.exe")
    assert report["where"]["text"].startswith("ExitProcess called in gpu_rt.dll+0x")
    assert report["last_event"]["name"] == "frame.done"
    assert report["silent"] is True


def test_abort_is_distinguished_from_exit(perimortem, programs):
    report = perimortem.report(programs / "abort_beating.exe")
    assert report["where"] is not None, (report["exit"], report["evidence"], report["soft_errors"])
    assert report["where"]["text"].startswith("abort called in abort_beating.exe+0x")


def kill(pid: int, code: int) -> None:
    """By a process that is not its parent."""
    killer = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", killer, str(pid), str(code)], check=True, timeout=30)


def test_terminated_from_outside(perimortem, programs):
    process = perimortem.start("run", "--", programs / "terminated.exe")
    line = process.stdout.readline()
    pid = int(Path(line.split(maxsplit=1)[1].strip()).name.split("-")[0])
    kill(pid, 12345678)
    assert process.wait(30) == 12345678
    account = process.stderr.read()
    assert "KILLED" in account
    assert "TerminateProcess" in account


def test_a_goodbye_is_no_exit(perimortem, programs):
    process = perimortem.start("run", "--", programs / "goodbye_hang.exe")
    process.stdout.readline()
    (path,) = perimortem.run_dir.glob("*.rec")
    kill(int(path.name.split("-")[0]), 9)
    assert process.wait(30) == 9
    assert "KILLED" in process.stderr.read()


def test_a_batch_file_gets_no_commands(perimortem, tmp_path):
    script = tmp_path / "show.bat"
    script.write_text("@echo got %1\r\n@exit /b 4\r\n")
    result = perimortem.call("run", "-q", "--", script, "plain")
    assert result.returncode == 4, result.stderr
    result = perimortem.call("run", "--", script, "a&echo.INJECTED")
    assert result.returncode == 126
    assert "INJECTED" not in result.stdout
    assert "as a command" in result.stderr


def test_the_environment_is_untouched(perimortem):
    perimortem.environment = {"SOME_NAME": "ä 1"}
    code = "import os; print(ascii(os.environ['SOME_NAME']))"
    result = perimortem.call("run", "-q", "--", sys.executable, "-c", code)
    assert result.stdout.strip() == r"'\xe4 1'"


def test_text_that_the_pipe_does_not_take_is_escaped(perimortem, programs, tmp_path):
    program = tmp_path / "Ж日本.exe"
    shutil.copy(programs / "exit_status.exe", program)
    perimortem.environment = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    assert perimortem.call("run", "-q", "--", program, "3").returncode == 3
    listed = perimortem.call("list")
    assert listed.returncode == 0, listed.stderr
    assert "\\u0416" in listed.stdout


def test_a_file_with_a_number_that_is_none_in_the_run_directory(perimortem, programs):
    perimortem.run_dir.mkdir()
    (perimortem.run_dir / "²-1.rec").write_text("")
    assert perimortem.call("run", "-q", "--", programs / "exit_status.exe", "3").returncode == 3


def test_an_unknown_command_is_127(perimortem):
    result = perimortem.call("run", "--", "no-such-program-at-all")
    assert result.returncode == 127
    assert "command not found" in result.stderr


def test_a_file_that_is_no_program_is_126(perimortem, tmp_path):
    path = tmp_path / "text.exe"
    path.write_text("this is no program")
    result = perimortem.call("run", "--", path)
    assert result.returncode == 126, result.stderr
    assert "not a program" in result.stderr


def test_names_that_are_not_ascii(perimortem, programs, tmp_path):
    folder = tmp_path / "Zürich 東京"
    folder.mkdir()
    program = folder / "Größe ня.exe"
    shutil.copy(programs / "exit_status.exe", program)
    report = perimortem.report(program, "5", "ü 'x\" y")
    assert report["exit"]["code"] == 5
    assert report["target"]["name"] == "Größe ня.exe"
    assert report["target"]["command_line"][2] == "ü 'x\" y"


def test_a_run_directory_whose_name_is_not_ascii(perimortem, programs, tmp_path):
    perimortem.environment = {"PERIMORTEM_RUN_DIR": str(tmp_path / "Läufe 走")}
    report = perimortem.report(programs / "beats.exe", "3")
    assert report["where"]["text"].startswith("ExitProcess called in beats.exe")
    assert list((tmp_path / "Läufe 走").iterdir()) == [], "the recorder is taken away"


def test_a_path_longer_than_260(perimortem, programs, tmp_path):
    folder = tmp_path
    while len(str(folder)) < 280:
        folder /= "a-folder-with-a-long-name"
    extended = "\\\\?\\" + str(folder)
    os.makedirs(extended)
    shutil.copy(programs / "exit_status.exe", os.path.join(extended, "long.exe"))
    result = perimortem.call("run", "--", os.path.join(extended, "long.exe"), "6")
    if result.returncode != 6:  # a Windows that takes it runs it
        assert result.returncode == 126, result.stderr
        assert "of which CreateProcess takes 259" in result.stderr


def test_arguments_and_streams_are_untouched(perimortem):
    code = "import sys; sys.stdout.write(sys.stdin.read() + sys.argv[1]); sys.exit(9)"
    result = perimortem.call("run", "-q", "--", sys.executable, "-c", code, 'a "b" \\', input="in ")
    assert result.returncode == 9
    assert result.stdout == 'in a "b" \\'


def test_a_tree_leads_with_its_first_death(perimortem, programs):
    # Two seconds, so that the child is not too short-lived for a machine that is busy.
    child = f'"{sys.executable}" -c "import time, os; time.sleep(2); os._exit(77)"'
    report = perimortem.report(programs / "spawns.exe", child)
    assert report["exit"]["code"] == 77
    names = [process["name"] for process in report["processes"]]
    assert "python.exe" in names
    member = report["processes"][names.index("python.exe")]
    assert member["exit"]["text"] == "exited with status 77"
