"""A target that measures the effects of dumps on itself, and dumps of it as a monitor takes them."""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from bench.common import PROGRAMS
from perimortem.dumping.protocol import DumpRequest
from perimortem.model.dump import DumpOptions, DumpResult
from perimortem.monitor.base import open_base
from perimortem.monitor.dump_jobs import DUMP_WORKER, DumpTask
from perimortem.proc import find_process


class Meter:
    """A target that measures its own pauses, and how long it takes to write to all its memory."""

    def __init__(self, mebibytes: int, threads: int, *, is_huge: bool = False) -> None:
        words = ["huge"] if is_huge else []
        self._popen = subprocess.Popen(
            [PROGRAMS / "memory_meter", str(mebibytes), str(threads), *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._popen.stdout is not None
        self._popen.stdout.readline()
        self.pid = self._popen.pid

    def _ask(self, letter: str) -> float:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(letter)
        self._popen.stdin.flush()
        return float(self._popen.stdout.readline())

    def longest_pause_ms(self) -> float:
        return self._ask("p")

    def write_all_ms(self) -> float:
        return self._ask("w")

    def huge_mebibytes(self) -> int:
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = re.search(r"AnonHugePages: +(\d+)", text)
        return int(found[1]) >> 10 if found else 0

    def close(self) -> None:
        self._popen.kill()
        self._popen.communicate()


class Dumper:
    """Dumps as a monitor takes them: the worker is already waiting."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._base = open_base(self._stack)
        self._base.pool.warm_up(DUMP_WORKER)

    def dump(self, pid: int, path: Path, options: DumpOptions) -> tuple[DumpResult, float]:
        """The result, and how long it took in s."""
        time.sleep(0.3)  # the spare warms up, as it does in a monitor
        results: list[DumpResult] = []
        start = time.perf_counter()
        request = DumpRequest(find_process(pid), path, options, 1 << 40)
        DumpTask(self._base.pool, pid, lambda: request, results.append, deadline_s=600)
        self._base.run_until(lambda: bool(results))
        assert results[0].path, results[0].error
        return results[0], time.perf_counter() - start

    def close(self) -> None:
        self._stack.close()
