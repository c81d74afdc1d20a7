"""Small dumps analysed in one process, beside minidump-stackwalk, which starts for each of them.

By processor time, since that one reads its symbol files in several threads.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.common import PROGRAMS, own_directories
from perimortem.dumping.open import open_snapshot
from perimortem.examine.dump_file import examine_dump
from perimortem.examine.options import ExamineOptions
from perimortem.report.examination.document import render_examination
from perimortem.symbols.files import ImageLibrary

_DUMPS = 200
_FAULTS = ("null-field", "divide", "read-only", "call-null")
_PEER = shutil.which("minidump-stackwalk", path=f"{os.environ['PATH']}:{Path.home()}/.cargo/bin")


def measure() -> Iterator[str]:
    with own_directories(), tempfile.TemporaryDirectory() as folder:
        paths = _take_dumps(Path(folder))
        nowhere, symbols = Path(folder) / "empty", Path(folder) / "symbols"
        nowhere.mkdir()
        _write_symbols(paths[0], symbols)
        size = sum(path.stat().st_size for path in paths) // len(paths) >> 10
        for words, root, with_lines, theirs in (
            ("without symbols", nowhere, False, ()),
            ("names", Path("/"), False, None),
            ("names and lines", Path("/"), True, ("--symbols-path", str(symbols))),
        ):
            with ImageLibrary() as library:
                options = ExamineOptions(library, root=root, with_lines=with_lines)
                yield from _compare(
                    f"{_DUMPS} dumps of {size} KiB, {words}", paths, options, theirs
                )


def _take_dumps(folder: Path) -> list[Path]:
    """As `run` takes them, of crashes of four kinds."""
    data = folder / "data"
    for fault in _FAULTS:
        subprocess.run(
            [sys.executable, "-m", "perimortem", "run", "-q", "--no-stacks", "--",
             PROGRAMS / "faults", fault],
            env={**os.environ, "PERIMORTEM_DATA_DIR": str(data)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    return sorted((data / "dumps").glob("*.dmp"))


def _write_symbols(dump: Path, folder: Path) -> None:
    """Breakpad's symbol files of its modules, for the peer."""
    with open_snapshot(dump) as snapshot:
        modules = [module.path for module in snapshot.modules if Path(module.path).exists()]
    subprocess.run(
        [sys.executable, "-m", "perimortem", "symbols", "dump", *modules, "-o", folder],
        stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def _compare(
    words: str, paths: list[Path], options: ExamineOptions, theirs: tuple[str, ...] | None
) -> Iterator[str]:
    """``theirs``: options of the peer; None: it cannot do the same."""

    def examine(path: Path) -> None:
        with examine_dump(path, options) as examination:
            render_examination(examination)

    def ask_peer(path: Path) -> None:
        argv = [_PEER or "", "--json", *(theirs or ()), str(path)]
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    for path in paths:
        examine(path)  # from here on images and symbols are kept
    ours_s = peers_s = 0.0
    for index in range(_DUMPS):
        path = paths[index % len(paths)]
        ours_s += _time(examine, path, time.process_time)
        if _PEER is not None and theirs is not None:
            peers_s += _time(ask_peer, path, _children_time)
    ours = f"{words}: {_DUMPS / ours_s:.0f} a second and core"
    if theirs is None:
        yield ours
    elif _PEER is None:
        yield f"{ours}; minidump-stackwalk is not installed"
    else:
        peers = f"minidump-stackwalk: {_DUMPS / peers_s:.0f}"
        ratio = peers_s / ours_s
        beside = f"{ratio:.1f} times as many" if ratio >= 1 else f"1/{1 / ratio:.1f} of them"
        yield f"{ours}, {peers}: {beside}"


def _time(call: Callable[[Path], None], path: Path, clock: Callable[[], float]) -> float:
    start = clock()
    call(path)
    return clock() - start


def _children_time() -> float:
    """Processor time of processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
