"""Run a command under watch, and watch processes that run already."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from perimortem.api.command import make_command, make_environment, make_error
from perimortem.documents.report import Report
from perimortem.errors import PerimortemError

Stream = int | IO[Any] | None
"""As subprocess takes it: None is the caller's own."""


@dataclass(frozen=True)
class RunResult:
    """What came of a command."""

    report: Report
    exit_status: int
    """The command's own, 128+n for signal n, 124 when ``on_hang`` ended it, 126 or 127 when it could
    not be started."""


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    threshold_s: float | Mapping[str, float] | None = None,
    on_hang: Literal["report", "abort", "kill"] = "report",
    dump_type: str = "mini",
    stacks: bool = True,
    follow: bool = True,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
) -> RunResult:
    """Run ``argv`` to its end under its own monitor, and return the report.

    ``threshold_s``: seconds without a heartbeat that are a hang, for all or by the heartbeat's name;
    ``dump_type``: none, mini, miniplus, triage, full or a mask like 0x1105; ``options``: further options
    of ``perimortem run``. The streams are the command's, as with :func:`subprocess.run`. Raises
    PerimortemError when the monitor itself could not work; then nothing was started.

    >>> result = perimortem.run(["./server", "--port", "8080"])
    >>> result.report.verdict, result.report.who.text
    (<Verdict.CRASH: 'crash'>, 'itself')
    """
    flags = _make_flags(threshold_s, on_hang, dump_type, stacks, follow, options)
    with tempfile.TemporaryDirectory(prefix="perimortem-") as folder:
        path = Path(folder) / "report.json"
        process = subprocess.Popen(
            _make_run(flags, path, argv),
            env=make_environment(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        return _read_result(path, status)


async def run_async(
    argv: Sequence[str | os.PathLike[str]],
    *,
    threshold_s: float | Mapping[str, float] | None = None,
    on_hang: Literal["report", "abort", "kill"] = "report",
    dump_type: str = "mini",
    stacks: bool = True,
    follow: bool = True,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
) -> RunResult:
    """:func:`run` for asyncio. Cancelled, it asks the command to end, and waits for that."""
    flags = _make_flags(threshold_s, on_hang, dump_type, stacks, follow, options)
    with tempfile.TemporaryDirectory(prefix="perimortem-") as folder:
        path = Path(folder) / "report.json"
        process = await asyncio.create_subprocess_exec(
            *_make_run(flags, path, argv),
            env=make_environment(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        return _read_result(path, status)


def watch(
    *pids: int,
    names: Sequence[str] = (),
    units: Sequence[str] = (),
    follow: bool = False,
    threshold_s: float | Mapping[str, float] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Report]:
    """Watch processes that run already; yields a report as each ends, until all have ended.

    ``names`` may hold * and ?; with ``follow`` processes that come later are watched, too, and the
    iterator ends when it is closed. Raises PerimortemError for a process that cannot be watched.

    >>> for report in perimortem.watch(4711):
    ...     print(report.verdict, report.exit.text)
    """
    arguments = ["watch", "--json"]
    arguments += [part for name in names for part in ("--name", name)]
    arguments += [part for unit in units for part in ("--unit", unit)]
    arguments += ["--follow"] if follow else []
    arguments += [*_make_thresholds(threshold_s), *options, *map(str, pids)]
    process = subprocess.Popen(
        make_command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        reader = _ReportReader()
        while line := process.stderr.readline():
            yield from reader.feed(line)
        if process.wait() != 0:
            raise make_error(reader.rest)
    finally:
        _end(process)
        process.stderr.close()


class _ReportReader:
    """JSON documents as they are complete; ``rest``: what is none."""

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._text = ""

    @property
    def rest(self) -> bytes:
        return self._text.encode()

    def feed(self, line: bytes) -> Iterator[Report]:
        self._text += line.decode("utf-8", "replace")
        if not line.startswith((b"}", b"{")):
            return  # a document ends in the first column
        try:
            document, end = self._decoder.raw_decode(self._text)
        except ValueError:
            return
        self._text = self._text[end:].lstrip()
        yield msgspec.convert(document, Report)


def _make_flags(
    threshold_s: float | Mapping[str, float] | None,
    on_hang: str,
    dump_type: str,
    stacks: bool,
    follow: bool,
    options: Sequence[str],
) -> list[str]:
    flags = [*_make_thresholds(threshold_s), "--on-hang", on_hang, "--dump-type", dump_type]
    flags += [] if stacks else ["--no-stacks"]
    flags += [] if follow else ["--no-follow"]
    return [*flags, *options]


def _make_thresholds(threshold_s: float | Mapping[str, float] | None) -> list[str]:
    if threshold_s is None:
        return []
    if not isinstance(threshold_s, Mapping):
        return ["--threshold", str(threshold_s)]
    return [
        part
        for name, seconds in threshold_s.items()
        for part in ("--threshold", f"{name}={seconds}")
    ]


def _make_run(flags: list[str], report: Path, argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    command = [os.fspath(argument) for argument in argv]
    return make_command(
        "run", "--silent", "--must-watch", "--report", str(report), *flags, "--", *command
    )


def _read_result(path: Path, status: int) -> RunResult:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise PerimortemError(
            "the monitor could not watch the command",
            why=f"it left with status {status} and no report",
            remedy="perimortem doctor",
        ) from None
    return RunResult(msgspec.json.decode(data, type=Report), status)


def _end(process: subprocess.Popen[Any]) -> None:
    """It passes the request on to what it runs, and then ends by itself."""
    if process.poll() is None:
        process.terminate()
        process.wait()
