"""One dump, now: what `perimortem dump` does, through the same worker as every other dump."""

from __future__ import annotations

import time
from pathlib import Path

from perimortem.clock import SystemClock
from perimortem.dump import check_access
from perimortem.dump.compressed import load_zstandard
from perimortem.dump.naming import choose_ending, dump_name
from perimortem.dump.progress import TellProgress
from perimortem.dump.protocol import DumpRequest
from perimortem.errors import CaptureFailed
from perimortem.model.dump import DumpOptions, DumpResult
from perimortem.monitor.dump_workers import DumpWorkers
from perimortem.proc import collect_process_info, find_process
from perimortem.recorder import find_run_dir, recorder_path
from perimortem.system import open_selector, raise_own_limits

_SIZE_LIMIT_BYTES = 1 << 40
_DEADLINE_S = 24 * 3600.0
"""Somebody waits for it, sees how far it is, and can end it."""


def dump_process(
    pid: int,
    output: Path | None,
    options: DumpOptions,
    tell_progress: TellProgress | None = None,
) -> DumpResult:
    """Dump ``pid`` to ``output`` (a file, a directory, or None for the working directory).

    Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched; what goes wrong
    later is in the result.
    """
    raise_own_limits()
    process = find_process(pid)
    check_access(pid, options)
    if options.compress:
        load_zstandard()
    target = collect_process_info(process)
    path = _choose_path(
        output, dump_name(target.name, int(time.time()), pid, choose_ending(options))
    )
    results: list[DumpResult] = []
    clock = SystemClock()
    selector = open_selector()
    workers = DumpWorkers(selector, _DEADLINE_S, keep_spare=False)
    try:
        recorder = recorder_path(find_run_dir(), process)
        request = DumpRequest(process, path, options, _SIZE_LIMIT_BYTES, recorder=recorder)
        workers.request(request, results.append, clock.monotonic_ns(), tell_progress)
        while not results:
            for call in selector.wait(1.0):
                call(clock.monotonic_ns())
            workers.expire(clock.monotonic_ns())
    finally:
        workers.close()
        selector.close()
    return results[0]


def _choose_path(output: Path | None, name: str) -> Path:
    path = Path(name) if output is None else output / name if output.is_dir() else output
    path = path.absolute()
    if path.exists():
        raise CaptureFailed(
            f"cannot write {path}", why="it exists already", remedy="name another file with -o"
        )
    if not path.parent.is_dir():
        raise CaptureFailed(f"cannot write {path}", why=f"there is no directory {path.parent}")
    return path
