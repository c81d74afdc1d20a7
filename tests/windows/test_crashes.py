"""The crash handler on Windows: unhandled exceptions are reported and dumped as they happen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perimortem import wire
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.winapi.version import read_wine_version
from perimortem.wire.layout import SERVICE_SOCKET_NAME

IS_WINE = read_wine_version() is not None
RIP_OFFSET = 0xF8


def read_exception(path):
    data = Path(path).read_bytes()
    dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    exception = dump.read_exception(dump.find(StreamType.ExceptionStream))
    at = exception.context.rva + RIP_OFFSET
    return exception.raw, int.from_bytes(data[at : at + 8], "little")


@pytest.mark.parametrize(
    ("way", "code", "name"),
    [
        ("write", 0xC0000005, "STATUS_ACCESS_VIOLATION"),
        ("divide", 0xC0000094, "STATUS_INTEGER_DIVIDE_BY_ZERO"),
        ("illegal", 0xC000001D, "STATUS_ILLEGAL_INSTRUCTION"),
        ("raise", 0xE0000042, "0xe0000042"),
        ("thread", 0xC0000005, "STATUS_ACCESS_VIOLATION"),
    ],
)
def test_one_report_with_the_context_of_the_exception(perimortem, programs, way, code, name):
    report = perimortem.report(programs / "crash_beating.exe", way)
    assert report["verdict"] == "crash", report["exit"]
    assert (report["exit"]["code"], report["silent"]) == (code, False)
    crash = report["crash"]
    assert (crash["name"], crash["code"]) == (name, code)
    assert "in crash_beating.exe+0x" in report["where"]["text"] or way == "raise"
    (dump,) = report["dumps"]
    raw, rip = read_exception(dump["path"])
    assert (raw.code, raw.thread_id) == (code, crash["tid"])
    assert hex(rip) == crash["program_counter"]
    if way in ("write", "thread"):
        assert crash["address"] == "0x10"
        assert "at 0x10 in crash_beating.exe+0x" in report["where"]["text"]


def test_a_stack_overflow_is_reported_on_the_stack_that_is_left(perimortem, programs):
    report = perimortem.report(programs / "crash_beating.exe", "overflow")
    assert any("STATUS_STACK_OVERFLOW at 0x" in e["fact"] for e in report["evidence"]), report
    assert read_exception(report["dumps"][0]["path"])[0].code == 0xC00000FD
    if not IS_WINE:  # that ends it with status 0, as if it had been repaired
        assert report["crash"]["name"] == "STATUS_STACK_OVERFLOW"
        assert (report["verdict"], report["exit"]["code"]) == ("crash", 0xC00000FD)


def test_a_fault_that_other_handlers_repair_is_no_crash(perimortem, programs):
    report = perimortem.report(programs / "crash_beating.exe", "repaired")
    assert (report["verdict"], report["exit"]["code"]) == ("clean-exit", 0), report
    assert (report["crash"], report["dumps"]) == (None, [])


def test_a_program_that_attaches_itself_starts_its_monitor(perimortem, programs):
    result = subprocess.run(
        [programs / "crash_beating.exe", "write", sys.executable],
        env=perimortem.env, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert result.stdout == "attached\n", result.stdout + result.stderr
    assert result.returncode & 0xFFFFFFFF == 0xC0000005

    def find():
        rows = json.loads(perimortem.call("list", "--json").stdout)
        shown = [perimortem.call("show", "--json", row["number"]).stdout for row in rows]
        return [one for one in map(json.loads, shown) if one["exit"]["kind"] != "running"]

    from conftest import await_true

    await_true(find)
    (incident,) = find()
    assert (incident["verdict"], incident["crash"]["address"]) == ("crash", "0x10")
    assert Path(incident["dumps"][0]["path"]).exists()


def test_a_second_monitor_is_refused_until_the_first_has_gone(perimortem):
    """Otherwise both would report, and dump, the same crash."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from perimortem import wire\n"
        "listener = wire.open_listener(Path(sys.argv[1]), sys.argv[2])\n"
        "print('serving', flush=True)\n"
        "sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, perimortem.run_dir, SERVICE_SOCKET_NAME],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with first:
        assert first.stdout.readline() == "serving\n"
        second = perimortem.call("monitor", "--exit-when-idle")
        first.kill()
    assert (second.returncode, second.stderr.count("\n")) == (1, 1), second.stderr
    assert "serves" in second.stderr
    wire.open_listener(perimortem.run_dir, SERVICE_SOCKET_NAME).close()
    wire.open_listener(perimortem.run_dir, SERVICE_SOCKET_NAME).close()


def test_python_attaches_itself(perimortem):
    code = (
        "import perimortem\n"
        "guard = perimortem.spawn_and_attach(connect_timeout=60)\n"
        "print(guard.error)\n"
        "guard.release()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=perimortem.env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.stdout == "\n", result.stderr
