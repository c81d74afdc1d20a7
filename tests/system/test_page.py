"""The page of an incident, in a browser: both themes, wide and narrow, by keyboard."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
from conftest import read_line_with

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is of Linux here")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("there is no Chromium on this machine (make test-deps)")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        yield running
        running.close()


@pytest.fixture()
def open_page(browser):
    """open_page(path, width, scheme): the page, and its errors."""
    contexts = []

    def begin(path, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page, errors = context.new_page(), []
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith("file:") else errors.append(request.url),
        )
        page.goto(path.as_uri())
        return page, errors

    yield begin
    for context in contexts:
        context.close()


@pytest.fixture()
def crash_page(perimortem, programs, tmp_path):
    perimortem.report(programs / "faults", "null-field")
    path = tmp_path / "crash.html"
    assert perimortem.call("show", "--html", path).returncode == 0
    return path


@pytest.fixture()
def hang_page(perimortem, programs, tmp_path):
    options = ("--threshold", "3", "--on-hang", "kill")
    perimortem.report(programs / "locks", "cycle", "3", options=options)
    path = tmp_path / "hang.html"
    assert perimortem.call("show", "--html", path).returncode == 0
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_first_screen_answers(crash_page, open_page, width, scheme):
    page, errors = open_page(crash_page, width, scheme)
    summary = page.locator("#summary").inner_text()
    for words in ("null pointer plus field offset 0x10", "write_field", "SIGSEGV", "heartbeat"):
        assert words in summary
    labels = page.locator("#summary dt").all_inner_texts()
    assert {"What", "Why", "Where", "Who", "When", "Last good state", "Dump"} <= set(labels)
    box = page.locator("#summary").bounding_box()
    assert box["y"] + box["height"] < (900 if width == 1280 else 1100)
    # Nothing sticks out, and nothing was asked of the network.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 384
    assert light == (scheme == "light")
    assert errors == []


def test_sections_of_a_hang(hang_page, open_page):
    page, errors = open_page(hang_page)
    summary = page.locator("#summary").inner_text()
    assert "no beat of progress since" in summary
    assert summary.count("waits for mutex") == 3
    for name in ("timeline", "locks", "threads", "evidence", "modules", "memory", "handles"):
        assert page.locator(f"#{name}").count() == 1, name
    assert page.locator("svg.locks rect").count() == 3
    assert page.locator(".track .stale").count() >= 1
    assert page.locator(".thread").count() >= 3
    assert errors == []


def test_a_hang_and_then_a_crash(perimortem, open_page, tmp_path):
    """Each is described by what was seen when it happened."""
    seen, path = tmp_path / "seen", tmp_path / "report.json"
    script = (
        "import ctypes, os, sys, time, perimortem\n"
        "def stuck():\n"
        "    while not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"
        "hb = perimortem.attach('trainer', threshold=0.5)\n"
        "hb.beat(); stuck(); hb.beat(); ctypes.string_at(16)\n"
    )
    argv = ["run", "--report", path, "--", sys.executable, "-c", script, seen]
    process = perimortem.start(*argv)
    assert "stuck" in read_line_with(process.stderr, "stuck at")
    seen.touch()
    process.communicate(timeout=60)
    report = json.loads(path.read_text())
    (hang,) = report["hangs"]
    assert report["verdict"] == "crash"
    functions = [f["function"] for t in hang["examination"]["threads"] for f in t["frames"]]
    assert "stuck" in functions
    assert hang["examination"]["reason"] is None
    assert report["examination"]["reason"]["access"]["address"] == "0x10"
    page_path = tmp_path / "both.html"
    assert perimortem.call("show", "--html", page_path).returncode == 0
    page, errors = open_page(page_path)
    summary = page.locator("#summary").inner_text()
    assert "no beat of trainer" in summary
    assert "null pointer" in summary
    assert page.locator(".track .hang").count() == 1
    assert errors == []


def test_the_keyboard_is_enough(hang_page, open_page):
    page, errors = open_page(hang_page)
    focused = "document.activeElement.closest('.thread')?.id"
    page.keyboard.press("j")
    first = page.evaluate(focused)
    page.keyboard.press("j")
    second = page.evaluate(focused)
    assert first
    assert second not in (None, first)
    page.keyboard.press("k")
    assert page.evaluate(focused) == first
    was_open = page.evaluate(f"document.getElementById('{first}').open")
    page.keyboard.press("o")
    assert page.evaluate(f"document.getElementById('{first}').open") != was_open
    page.keyboard.press("/")
    page.keyboard.type("in_cycle")
    assert page.locator(".thread:visible").count() == 3
    page.keyboard.press("Escape")
    assert page.locator(".thread:visible").count() == page.locator(".thread").count()
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert errors == []


def test_names_of_a_program_are_text_and_never_markup(perimortem, programs, open_page, tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copy(programs / "faults", evil)
    perimortem.report(evil, "null", "</script><script>alert(2)</script>")
    path = tmp_path / "evil.html"
    assert perimortem.call("show", "--html", path).returncode == 0
    page, errors = open_page(path)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert "<img src=x" in page.locator("h1").inner_text()
    assert errors == []


def test_a_page_of_a_dump_alone(perimortem, start, open_page, tmp_path):
    program = start("many_threads", 20)
    dump = tmp_path / "live.dmp"
    perimortem.call("dump", program.pid, "-o", dump)
    path = tmp_path / "dump.html"
    result = perimortem.call("analyze", dump, "--html", path)
    assert result.returncode == 0, result.stderr
    page, errors = open_page(path)
    assert page.locator(".thread").count() == 2  # main, and those that all wait at one place
    assert errors == []


def test_an_incident_whose_dump_is_gone_still_has_its_page(perimortem, programs, tmp_path):
    report = perimortem.report(programs / "faults", "null")
    (perimortem.data_dir / "dumps").joinpath(report["dumps"][0]["path"]).unlink()
    path = tmp_path / "gone.html"
    result = perimortem.call("show", "--html", path)
    assert result.returncode == 0
    assert "cannot read" in result.stderr
    assert "write_byte" in path.read_text()


def test_a_page_that_cannot_be_written_is_one_line(perimortem, programs):
    perimortem.report(programs / "faults", "null")
    result = perimortem.call("show", "--html", "/nowhere/page.html")
    assert result.returncode == 1
    assert "cannot write" in result.stderr
