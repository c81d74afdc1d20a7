"""One dump, now: what `perimortem dump` does, through the same worker as every other dump."""

from __future__ import annotations

import time
from pathlib import Path

from perimortem.clock import SystemClock
from perimortem.dump import check_access
from perimortem.dump.naming import dump_name
from perimortem.dump.protocol import DumpRequest
from perimortem.errors import CaptureFailed
from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.monitor.dump_workers import DumpWorkers
from perimortem.proc import collect_target, find_process
from perimortem.system import open_selector, raise_own_limits

_SIZE_LIMIT_BYTES = 1 << 40
_DEADLINE_S = 600.0


def dump_process(pid: int, output: Path | None, types: MinidumpType) -> DumpResult:
    """Dump ``pid`` to ``output`` (a file, a directory, or None for the working directory).

    Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched; what goes wrong
    later is in the result.
    """
    raise_own_limits()
    process = find_process(pid)
    check_access(pid, types)
    target = collect_target(process)
    path = _choose_path(output, dump_name(target.name, int(time.time()), pid))
    results: list[DumpResult] = []
    clock = SystemClock()
    selector = open_selector()
    workers = DumpWorkers(selector, _DEADLINE_S, keep_spare=False)
    try:
        request = DumpRequest(process, path, types, _SIZE_LIMIT_BYTES)
        workers.request(request, results.append, clock.monotonic_ns())
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
    if not path.parent.is_dir():
        raise CaptureFailed(f"cannot write {path}", why=f"there is no directory {path.parent}")
    return path
