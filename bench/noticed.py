"""What a target can notice of a dump: tests/programs/health checks for it, in each pause mode."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import PROGRAMS, own_directories
from bench.meter import Dumper
from perimortem.model.dump import FULL, MINI, DumpOptions, Pause

_DUMPS = 50
_ROWS = {
    "a tracer in /proc/self/status": "tracer_seen",
    "calls ended by EINTR": "eintr",
    "signals lost": "lost_signals",
    "SIGCHLD too many": "extra_sigchlds",
    "children that waitpid(-1) did not expect": "unknown_children",
    "the same with __WALL": "wall_children",
    "descriptors too many": "descriptors",
    "events of epoll from nowhere": "ghost_events",
    "memory, vector registers, vdso changed": "changed",
    "timer ticks missed": "ticks_missed",
    "longest gap of its clock, ms": "longest_gap_ms",
    "page faults": "minor_faults",
}


def measure() -> Iterator[str]:
    """A table in Markdown: docs/performance.md has it."""
    columns = {"no dump": _live(None)}
    for types, name in ((MINI, "mini"), (FULL, "full")):
        for pause in Pause:
            if (types, pause) != (MINI, Pause.SNAPSHOT):
                columns[f"{name}, {pause}"] = _live(DumpOptions(types, pause))
    yield f"{_DUMPS} dumps of a process of 64 MiB and 9 threads; what it noticed itself:"
    yield f"| | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for label, key in _ROWS.items():
        yield f"| {label} | {' | '.join(f'{column[key]:g}' for column in columns.values())} |"


def _live(options: DumpOptions | None) -> dict[str, float]:
    with own_directories(), tempfile.TemporaryDirectory() as directory:
        program = subprocess.Popen(
            [PROGRAMS / "health", "64"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdout.readline()
        if options is None:
            time.sleep(0.35 * _DUMPS)
        else:
            dumper = Dumper()
            for index in range(_DUMPS):
                path = Path(directory) / f"{index}.dmp"
                dumper.dump(program.pid, path, options)
                path.unlink()
            dumper.close()
        program.stdin.close()
        facts: dict[str, float] = json.loads(program.stdout.read())
        program.stdout.close()
        program.wait()
    changed = ("checksum_errors", "vector_errors", "vdso_changed")
    facts["changed"] = sum(facts[key] for key in changed)
    facts["ticks_missed"] = max(0, facts["ticks_missed"])
    return facts
