"""Stacks and reasons, of dumps and of running processes; what exit codes mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perimortem.api.command import ask
from perimortem.documents.examination import Examination, ThreadStack
from perimortem.exits.decode import Explanation, explain_code


def stacks(
    what: int | str | os.PathLike[str],
    *,
    symbol_dirs: Sequence[str | os.PathLike[str]] = (),
    lines: bool = True,
    python: bool = True,
) -> list[ThreadStack]:
    """The stacks of all threads of a dump, or of the running process with the pid ``what``.

    A process stands for some milliseconds and runs on. ``symbol_dirs``: searched first for programs,
    libraries, .debug and .sym files. Raises PerimortemError.

    >>> [frame.function for frame in perimortem.stacks(4711)[0].frames]
    ['pause', 'main', ...]
    """
    return _examine(what, symbol_dirs, lines=lines, python=python).threads


def analyze(
    what: int | str | os.PathLike[str],
    *,
    symbol_dirs: Sequence[str | os.PathLike[str]] = (),
    lines: bool = True,
    python: bool = True,
) -> Examination:
    """Why a dump's process crashed, or what the running process with the pid ``what`` waits for.

    Raises PerimortemError.

    >>> found = perimortem.analyze("server.dmp")
    >>> found.reason.text, found.signature.text
    ('read of 4 bytes at 0x18 ...: null pointer', 'Scene::update | Engine::tick')
    """
    return _examine(what, symbol_dirs, lines=lines, python=python)


def explain(code: int | str, subcode: int | str | None = None) -> Explanation:
    """What an exit code, a signal or a Windows status means: 139, -11, "SIGBUS", 0xC0000409.

    ``subcode``: the fast-fail code of 0xC0000409. Raises PerimortemError for anything else.

    >>> perimortem.explain(137).name
    'SIGKILL'
    """
    return explain_code(str(code), None if subcode is None else str(subcode))


def _examine(
    what: int | str | os.PathLike[str],
    symbol_dirs: Sequence[str | os.PathLike[str]],
    *,
    lines: bool,
    python: bool,
) -> Examination:
    if isinstance(what, int):
        arguments = ["stack", "--json", str(what)]
        arguments += [part for folder in symbol_dirs for part in ("--symbols", os.fspath(folder))]
        arguments += ([] if lines else ["--no-lines"]) + ([] if python else ["--no-python"])
        return msgspec.convert(ask(arguments), Examination)
    return _examine_file(Path(what), tuple(map(Path, symbol_dirs)), lines=lines, python=python)


def _examine_file(
    path: Path, symbol_dirs: tuple[Path, ...], *, lines: bool, python: bool
) -> Examination:
    from perimortem.examine.dump_file import examine_dump
    from perimortem.examine.options import ExamineOptions
    from perimortem.report.examination.document import render_examination
    from perimortem.symbols.files import ImageLibrary

    with (
        ImageLibrary() as library,
        examine_dump(path, ExamineOptions(library, symbol_dirs, False, lines, python)) as found,
    ):
        return render_examination(found)
