"""Stacks and reasons, of dumps and of running processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perimortem.api.command import ask
from perimortem.documents.examination import Examination, ThreadStack
from perimortem.errors import PerimortemError

if TYPE_CHECKING:
    from perimortem.examine.options import ExamineOptions
    from perimortem.model.examination import Examination as ExaminationModel


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
    return _examine_dump(Path(what), tuple(map(Path, symbol_dirs)), lines=lines, python=python)


def _examine_dump(
    path: Path, symbol_dirs: tuple[Path, ...], *, lines: bool, python: bool
) -> Examination:
    from perimortem.report.examination.document import render_examination

    with (
        open_options(symbol_dirs, lines=lines, python=python) as options,
        open_examination(path, options) as examination,
    ):
        return render_examination(examination)


@contextmanager
def open_options(
    symbol_dirs: tuple[Path, ...], *, debuginfod: bool = False, lines: bool, python: bool
) -> Iterator[ExamineOptions]:
    """The options, shared by any number of examinations."""
    from perimortem.examine.options import ExamineOptions
    from perimortem.symbols.files import ImageLibrary

    with ImageLibrary() as library:
        yield ExamineOptions(library, symbol_dirs, debuginfod, lines, python)


@contextmanager
def open_examination(
    what: int | Path, options: ExamineOptions, *, twice: bool = False
) -> Iterator[ExaminationModel]:
    """Of the dump or the process ``what``, in this process; ``twice``: take two samples of a process.

    Raises PerimortemError."""
    from perimortem.examine.dump_file import examine_dump

    if isinstance(what, int):
        from perimortem.examine import examine_process
        from perimortem.examine.two_samples import examine_twice
        from perimortem.proc import find_process

        if what == os.getpid():
            raise PerimortemError("perimortem does not stop itself", remedy="name another process")
        examine = examine_twice if twice else examine_process
        with examine(find_process(what), options) as examination:
            yield examination
        return
    if twice:
        raise PerimortemError(
            f"{what} cannot be sampled twice", why="it is a dump", remedy="name a process id"
        )
    with examine_dump(what, options) as examination:
        yield examination
