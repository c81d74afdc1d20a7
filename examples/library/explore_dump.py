"""Look around in a dump, cell by cell as in a notebook: `python explore_dump.py DUMP`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import perimortem


def explore(path: Path) -> int:
    """Prints what is in it; returns how many threads there are."""
    # What kind of process was it, and why was the dump taken?
    with perimortem.open_dump(path) as dump:
        print(f"process {dump.pid}, {dump.system.os} on {dump.system.architecture}")
        if dump.exception is not None:
            print(f"signal {dump.exception.code} in thread {dump.exception.tid}")

        # Where does each thread stand?
        for stack in perimortem.stacks(path, lines=False):
            functions = [frame.function or frame.module or "?" for frame in stack.frames[:3]]
            print(f"  {stack.tid:>8} {stack.name:<16} {' < '.join(functions)}")

        # Which code was loaded, and does its memory hold what its file had?
        for module in dump.modules[:5]:
            magic = dump.read(module.base, 4)
            build_id = module.build_id.hex() if module.build_id else "-"
            print(f"  {module.base:#016x} {module.path}  {build_id[:16]} {magic!r}")

        # How much of its memory is there?
        total = sum(memory.size for memory in dump.memory)
        print(f"  {total / 2**20:.1f} MiB of memory in {len(dump.memory)} ranges")
        return len(dump.threads)


def self_test(programs: Path) -> None:
    report = perimortem.run([programs / "crash_null"]).report
    path = report.dumps[0].path
    assert path is not None
    assert explore(Path(path)) == 1
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken.dmp"
        broken.write_bytes(b"no dump")
        try:
            explore(broken)
        except perimortem.PerimortemError as error:
            print(error)
    print(json.dumps({"ok": True}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--self-test"]:
        self_test(Path(sys.argv[2]))
    else:
        explore(Path(sys.argv[1]))
