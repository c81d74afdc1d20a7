"""32 secrets in a program, in every place that we know of: what shows them, and what does not.

Each is first found where it may be, so that a search that finds nothing means something.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perimortem.dumping.write import write_dump
from perimortem.model.dump import FULL, TRIAGE, DumpFormat, DumpOptions
from perimortem.proc import find_process

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="the places are those of Linux"),
]

_LETTERS = "ghijkmnopqrstuvwxyzGHJKLMNPQRSTUVWXYZ"
PLANTED = (
    "stack", "frame", "thread-stack", "argument-of-call", "heap", "large-heap", "freed", "data", "bss",
    "tls", "thread-tls", "anonymous", "shared", "memfd", "set-environment", "payload", "text",
    "event-name", "thread-name", "process-name", "mapped-file", "open-file", "socket-name",
)  # fmt: skip
"""In the order in which plants.c reads them."""
GIVEN = (
    "token",
    "password",
    "url",
    "plain",
    "header",
    "user",
    "environment",
    "named-environment",
    "directory",
)
NAMED = ("token", "password", "url", "header", "payload", "text")
"""What is redacted without being asked: its notation says what it is."""
IN_REPORTS = (*NAMED, "plain", "user", "event-name", "thread-name")
"""What a report has, if nothing is redacted."""


@dataclass(frozen=True)
class Plants:
    """A secret of at most 15 bytes for each place."""

    of: dict[str, str] = field(
        default_factory=lambda: {
            name: _draw(6) + secrets.choice("23456789") + _draw(6) for name in (*PLANTED, *GIVEN)
        }
    )

    @property
    def input(self) -> str:
        return "".join(self.of[name] + "\n" for name in PLANTED)

    def arguments(self, end: str) -> list[str]:
        of = self.of
        return [
            f"--token={of['token']}", "--password", of["password"], f"https://me:{of['url']}@host/",
            "-H", f"Authorization: Bearer {of['header']}", "--user", of["user"], of["plain"], end,
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTE": self.of["environment"], "API_TOKEN": self.of["named-environment"]}

    def found_in(self, data: bytes | str) -> set[str]:
        """The places whose secret is there, as bytes or as UTF-16."""
        return {name for name, secret in self.of.items() if _has(data, secret)}

    def partly_in(self, data: bytes | str) -> set[str]:
        """The same for any six characters in a row, as a register or a word of a stack has them."""
        return {
            name
            for name, secret in self.of.items()
            if any(_has(data, secret[at : at + 6]) for at in range(len(secret) - 5))
        }


def _draw(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def _has(data: bytes | str, text: str) -> bool:
    if isinstance(data, str):
        return text in data
    return text.encode() in data or text.encode("utf-16-le") in data


@pytest.fixture()
def plants():
    return Plants()


@pytest.fixture()
def place(tmp_path, plants):
    """A working directory that is called by a secret."""
    path = tmp_path / plants.of["directory"]
    path.mkdir()
    return path


@pytest.fixture()
def waiting(start, perimortem, programs, plants, place):
    import subprocess

    process = subprocess.Popen(
        [programs / "plants", *plants.arguments("wait")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=place,
        env={**perimortem.env, **plants.environment},
    )
    process.stdin.write(plants.input)
    process.stdin.flush()
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def crash(perimortem, programs, plants, place, *options):
    """`run` on the program that crashes; its report as --report has it."""
    perimortem.environment.update(plants.environment)
    path = place.parent / "report.json"
    result = perimortem.call(
        "run", *options, "--report", path, "--", programs / "plants", *plants.arguments("crash"),
        input=plants.input, cwd=place,
    )  # fmt: skip
    assert result.returncode == 139, result.stderr
    return result, path


def show_all_ways(perimortem, tmp_path, *options):
    """`show` as text, as JSON and as a page."""
    page = tmp_path / "page.html"
    text = perimortem.call("show", *options)
    as_json = perimortem.call("show", "--json", *options)
    written = perimortem.call("show", "--html", page, *options)
    for result in (text, as_json, written):
        assert result.returncode == 0, result.stderr
    return {"text": text.stdout, "json": as_json.stdout, "page": page.read_text()}


def test_what_is_named_as_a_secret_is_in_no_report_unless_a_setting_keeps_it(
    perimortem, programs, plants, place, tmp_path
):
    result, report = crash(perimortem, programs, plants, place)
    assert plants.found_in(result.stderr) & set(NAMED) == set()
    assert plants.found_in(report.read_bytes()) & set(NAMED) == set()
    assert "--token=[redacted]" in report.read_text()
    stored = b"".join(path.read_bytes() for path in perimortem.data_dir.iterdir() if path.is_file())
    assert plants.found_in(stored) & set(NAMED) == set()
    assert "plain" in plants.found_in(stored)
    for way, shown in show_all_ways(perimortem, tmp_path).items():
        assert plants.found_in(shown) & set(NAMED) == set(), way
    for way, shown in show_all_ways(perimortem, tmp_path, "--no-redact").items():
        assert plants.found_in(shown) & set(NAMED) == set(), "it was never kept: " + way


def test_a_setting_keeps_the_report_whole_and_one_shows_it(
    perimortem, programs, plants, place, tmp_path
):
    crash(perimortem, programs, plants, place, "--no-redact")
    whole = show_all_ways(perimortem, tmp_path, "--no-redact")
    assert plants.found_in(whole["json"]) >= set(IN_REPORTS)
    assert plants.found_in(show_all_ways(perimortem, tmp_path)["json"]) & set(NAMED) == set()
    perimortem.environment["PERIMORTEM_REDACT"] = "false"
    assert plants.found_in(perimortem.call("show").stdout) >= {"token", "password", "plain"}
    assert plants.found_in(perimortem.call("list", "--json").stdout) & set(NAMED) == set()


@pytest.mark.parametrize("kept", [True, False], ids=["kept whole", "redacted"])
def test_a_report_to_share_has_none_of_them(perimortem, programs, plants, place, tmp_path, kept):
    crash(perimortem, programs, plants, place, *(["--no-redact"] if kept else []))
    page = tmp_path / "whole.html"
    whole = perimortem.call("show", "--no-redact", "--json").stdout
    perimortem.call("show", "--no-redact", "--html", page)
    assert plants.found_in(page.read_text()) >= {"mapped-file", "open-file", "directory"}
    name, home = json.loads(whole)["host"]["name"], str(tmp_path)
    assert name in whole
    assert home in whole
    for way, shown in show_all_ways(perimortem, tmp_path, "--share").items():
        assert plants.partly_in(shown) == set(), way
        assert name not in shown, way
        assert home not in shown, way
        assert "reduced to be given away" in shown or way == "page"
    text = perimortem.call("show", "--share").stdout
    # What it is good for is still there.
    for needed in ("SIGSEGV", "plants", "thread (", "end at plants.c", "null pointer", "login"):
        assert needed in text, text
    report = json.loads(perimortem.call("show", "--share", "--json").stdout)
    assert report["target"]["command_line"][:4] == [
        "plants", "--token=[removed]", "--password", "[removed]",
    ]  # fmt: skip
    assert report["examination"]["signature"]["blamed_function"] == "end"


def test_what_is_to_be_shared_is_redacted(perimortem):
    result = perimortem.call("show", "--share", "--no-redact")
    assert result.returncode == 2
    assert "exclude each other" in result.stderr


@pytest.mark.parametrize("file_format", list(DumpFormat))
def test_a_triage_dump_has_none_of_them(waiting, plants, tmp_path, file_format):
    process = find_process(waiting.pid)
    full = write_dump(process, tmp_path / "full", DumpOptions(FULL, format=file_format))
    in_full = plants.found_in(Path(full.path).read_bytes())
    assert in_full >= set(PLANTED) | set(GIVEN) - {"environment", "named-environment"}
    assert not in_full & {"environment", "named-environment"}, "the environment is never written"
    block = Path(f"/proc/{waiting.pid}/environ").read_bytes()
    assert plants.found_in(block) == {"environment", "named-environment"}

    triage = write_dump(process, tmp_path / "triage", DumpOptions(TRIAGE, format=file_format))
    data = Path(triage.path).read_bytes()
    assert plants.partly_in(data) == set()
    assert str(tmp_path).encode() not in data


def test_the_triage_dump_of_a_crash_has_none_of_them_and_still_says_why(
    perimortem, programs, plants, place
):
    crash(perimortem, programs, plants, place, "--dump-type", "triage")
    (dump,) = (perimortem.data_dir / "dumps").glob("*.dmp")
    data = dump.read_bytes()
    assert plants.partly_in(data) == set()
    assert b"login" in data, "the names of its events"
    found = json.loads(perimortem.call("analyze", "--json", "--symbols", programs, dump).stdout)
    assert found["reason"]["kind"] == "null-pointer"
    assert found["signature"]["blamed_function"] == "end"


def test_a_full_dump_says_that_it_holds_everything(perimortem, waiting, tmp_path, programs):
    words = "it holds all memory of the process"
    result = perimortem.call("dump", waiting.pid, "--type", "full", "-o", tmp_path / "full.dmp")
    assert words in result.stderr
    result = perimortem.call("dump", waiting.pid, "-o", tmp_path / "mini.dmp")
    assert words not in result.stderr + result.stdout
    result = perimortem.call("run", "--dump-type", "full", "--", programs / "crash_null")
    assert words in result.stderr
    assert words in perimortem.call("show").stdout
    assert perimortem.call("show", "--html", tmp_path / "page.html").returncode == 0
    assert words in (tmp_path / "page.html").read_text()


def test_what_we_write_is_for_the_owner_only_no_matter_what_was_there(
    perimortem, programs, tmp_path
):
    folder = tmp_path / "written"
    folder.mkdir()
    report, page, analysis = (folder / name for name in ("r.json", "p.html", "a.html"))
    for path in (report, page):
        path.write_text("before")
        path.chmod(0o666)
    old = os.umask(0)
    try:
        perimortem.call("run", "-q", "--report", report, "--", programs / "crash_null")
        perimortem.call("show", "--html", page)
        (dump,) = (perimortem.data_dir / "dumps").glob("*.dmp")
        perimortem.call("analyze", dump, "--html", analysis)
    finally:
        os.umask(old)
    for path in (report, page, analysis):
        assert path.read_text() != "before"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert sorted(path.name for path in folder.iterdir()) == ["a.html", "p.html", "r.json"]


def test_a_page_is_not_written_through_another_users_link(perimortem, programs, tmp_path):
    perimortem.call("run", "-q", "--", programs / "crash_null")
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / ".page.html.partial").symlink_to(target)
    assert perimortem.call("show", "--html", tmp_path / "page.html").returncode == 0
    assert target.read_text() == "mine"


def test_commands_that_look_at_processes_and_dumps_redact_as_well(
    perimortem, waiting, plants, tmp_path
):
    dump = tmp_path / "mini.dmp"
    perimortem.call("dump", waiting.pid, "-o", dump)
    for arguments in (("inspect", dump, "--all"), ("inspect", "--json", dump)):
        shown = perimortem.call(*arguments).stdout
        assert plants.found_in(shown) & set(NAMED) == set(), arguments
        assert "plain" in plants.found_in(shown)
        whole = perimortem.call(*arguments, "--no-redact").stdout
        assert plants.found_in(whole) >= {"token", "password", "url"}, arguments
