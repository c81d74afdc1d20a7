"""One dump, now: implements `perimortem dump`, with the same worker as every other dump."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from perimortem.dumping import check_access
from perimortem.dumping.compressed import load_zstandard
from perimortem.dumping.naming import choose_ending, dump_name
from perimortem.dumping.progress import OnProgress
from perimortem.dumping.protocol import DumpRequest
from perimortem.errors import CaptureFailed
from perimortem.model.dump import DumpOptions, DumpResult
from perimortem.monitor.base import open_base
from perimortem.monitor.dump_jobs import SINGLE_DUMP_WORKER, DumpTask
from perimortem.proc import find_process, identify_process
from perimortem.recorder import find_run_dir, recorder_path
from perimortem.system import raise_own_limits

_SIZE_LIMIT_BYTES = 1 << 40
_DEADLINE_S = 24 * 3600.0
"""The user sees its progress and can cancel it."""


def dump_process(
    pid: int,
    output: Path | None,
    options: DumpOptions,
    on_progress: OnProgress | None = None,
) -> DumpResult:
    """Dump ``pid`` to ``output`` (a file, a directory, or None for the working directory).

    Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched; later errors are in
    the result.
    """
    raise_own_limits()
    process = find_process(pid)
    check_access(pid, options)
    if options.compress:
        load_zstandard()
    target = identify_process(process)
    path = _choose_path(
        output, dump_name(target.name, int(time.time()), pid, choose_ending(options))
    )
    results: list[DumpResult] = []
    request = DumpRequest(
        process, path, options, _SIZE_LIMIT_BYTES, recorder=recorder_path(find_run_dir(), process)
    )
    with ExitStack() as stack:
        base = open_base(stack)
        DumpTask(
            base.pool,
            pid,
            lambda: request,
            results.append,
            deadline_s=_DEADLINE_S,
            kind=SINGLE_DUMP_WORKER,
            on_progress=on_progress,
        )
        base.run_until(lambda: bool(results))
    return results[0]


def _choose_path(output: Path | None, name: str) -> Path:
    path = Path(name) if output is None else output / name if output.is_dir() else output
    path = path.absolute()
    if path.exists():
        raise CaptureFailed(
            f"cannot write {path}", why="it already exists", remedy="name another file with -o"
        )
    if not path.parent.is_dir():
        raise CaptureFailed(f"cannot write {path}", why=f"there is no directory {path.parent}")
    return path
