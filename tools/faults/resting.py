"""Healthy programs that rest: none of them may be called hung, few of them quiet.

Cases: SECONDS:PROGRAM. For ten minutes each: --prefix 600:
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .place import Place
from .resting_programs import PROGRAMS, Resting
from .row import Plan, Played, Row

_SECONDS = 60
_SHORT = ("pool of threads beside a server", "supervisor of idle children", "pipeline")
_OPTIONS = ("--threshold", "3", "--quiet-after", "20", "--no-stacks", "--dump-type", "none")
_PREPARE_S = 300


class RestingRow(Row):
    name = "resting"
    title = "healthy programs that rest, watched with a threshold of 3 s"
    zeros = ("false hangs", "unjustified quiet lines", "did not run")
    jobs = 96
    deadline_s = 1800.0

    def list_cases(self, plan: Plan) -> Iterator[str]:
        given, _, _ = plan.prefix.partition(":")
        seconds = int(given) if given.isdecimal() else 8 if plan.is_short else _SECONDS
        for name in _SHORT if plan.is_short else PROGRAMS:
            yield f"{seconds}:{name}"

    def play(self, case: str) -> Played:
        seconds, _, name = case.partition(":")
        program = PROGRAMS[name]
        missing = [need for need in program.needs if shutil.which(need) is None]
        if missing:
            return Played(not_tried=f"{', '.join(missing)} is not installed")
        played = Played()
        with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)
            _rest(Path(folder), program, float(seconds), played)
        return played


def _rest(folder: Path, program: Resting, seconds: float, played: Played) -> None:
    place = Place(folder)
    work = folder / "work"
    work.mkdir()
    subprocess.run(
        ["sh", "-c", program.prepare or "true"], cwd=work, check=True, timeout=_PREPARE_S
    )
    report_path = folder / "report.json"
    monitor = place.start(
        "run", *_OPTIONS, "--report", report_path, "--", "sh", "-c", program.script,
        cwd=work, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        monitor.wait(seconds)
        played.fail("did not run", f"it ended with status {monitor.returncode}")
    except subprocess.TimeoutExpired:
        played.add("programs")
        played.add("seconds of them", seconds)
    monitor.terminate()
    with suppress(subprocess.TimeoutExpired):
        monitor.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(monitor.pid, signal.SIGKILL)
    monitor.wait()
    for report in _read_reports(place, report_path):
        if report["hangs"]:
            why = [fact["fact"] for fact in report["evidence"] if fact["code"] == "silence"]
            played.fail("false hangs", f"{report['target']['name']}: {why}")
        for fact in report["evidence"]:
            if fact["code"] == "quiet":
                played.add("quiet lines")
                if not program.quiet:
                    played.fail("unjustified quiet lines", fact["fact"])


def _read_reports(place: Place, own: Path) -> list[dict[str, Any]]:
    """Of the command, and of what else is in the store; each once."""
    found = [json.loads(own.read_text())] if own.exists() else []
    for row in place.list_incidents():
        shown = place.call("show", "--json", row["number"])
        if shown.returncode == 0:
            found.append(json.loads(shown.stdout))
    return list({report["uid"]: report for report in found}.values())
