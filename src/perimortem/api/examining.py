"""Stacks and reasons, of dumps and of running processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    libraries, .debug and .sym files; URLs of symbol servers as well. Raises PerimortemError.

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
    """By the command line tool: what it reads may be hostile, and ends another process at worst."""
    if isinstance(what, int):
        arguments = ["stack", "--json", str(what)]
    else:
        arguments = ["analyze", "--json", "--", os.path.abspath(what)]
    options = [part for folder in symbol_dirs for part in ("--symbols", os.fspath(folder))]
    options += ([] if lines else ["--no-lines"]) + ([] if python else ["--no-python"])
    return msgspec.convert(ask([*arguments[:2], *options, *arguments[2:]]), Examination)


@contextmanager
def open_options(
    symbols: tuple[Path | str, ...],
    *,
    debuginfod: bool = False,
    lines: bool,
    python: bool,
    before_parsing: Callable[[], None] = lambda: None,
) -> Iterator[ExamineOptions]:
    """The options, shared by any number of examinations. ``symbols``: folders, and URLs as text."""
    from perimortem.examine.options import ExamineOptions
    from perimortem.symbols.files import ImageLibrary

    with ExitStack() as stack:
        library = stack.enter_context(ImageLibrary())
        fetch = None
        urls = tuple(place for place in symbols if isinstance(place, str))
        symbol_dirs = tuple(place for place in symbols if isinstance(place, Path))
        if debuginfod or urls:
            from perimortem.symbols.fetcher import Fetcher

            fetcher = Fetcher(urls, debuginfod=debuginfod)
            stack.callback(fetcher.close)
            fetch = fetcher.fetch
        yield ExamineOptions(
            library,
            symbol_dirs,
            fetch,
            with_lines=lines,
            with_python=python,
            before_parsing=before_parsing,
        )


@contextmanager
def open_examination(
    what: int | Path, options: ExamineOptions, *, twice: bool = False
) -> Iterator[ExaminationModel]:
    """Of the dump or the process ``what``, in this process; ``twice``: take two samples of a process.

    Raises PerimortemError."""
    from perimortem.examine.dump_file import examine_dump

    if isinstance(what, int):
        from perimortem.examine.process import examine_process, examine_twice
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
