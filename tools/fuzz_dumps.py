"""Coverage-guided fuzzing of reader, listing and converter: fuzz_dumps.py [SECONDS] [CORPUS] (atheris).

Only our own error may come out; no hang, no blow-up. Finds are left as crash-* files; put them,
minimised, into tests/unit/hostile.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent

with atheris.instrument_imports(include=["perimortem"]):
    from perimortem.binary.bulk import BulkCopier  # noqa: F401
    from perimortem.dump.compressed import CompressedReader
    from perimortem.elfcore.reader import CoreFile, is_core
    from perimortem.elfcore.writer import write_core
    from perimortem.errors import PerimortemError
    from perimortem.minidump.reader import MinidumpFile
    from perimortem.minidump.snapshot import read_snapshot
    from perimortem.minidump.writer import write_minidump
    from perimortem.model.dump import MINI
    from perimortem.report.minidump.document import describe_dump
    from perimortem.report.minidump.text import render_dump

_MEMORY_MAX = 2 << 30
_WRITTEN_MAX = 64 << 20
_TIMEOUT_S = 10


def exercise(data: bytes) -> None:
    """All that a stranger's file goes through."""

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size] if offset >= 0 else b""

    try:
        if data[:4] == b"\x28\xb5\x2f\xfd":
            unpacked = CompressedReader(read, len(data))
            unpacked.read(0, 1 << 20)
            return
        if is_core(data[:18]):
            snapshot = CoreFile(read, len(data)).read_snapshot()
        else:
            dump = MinidumpFile(read, len(data))
            render_dump(describe_dump(dump, limit=50))
            snapshot = read_snapshot(dump)
        if sum(memory.size for memory in snapshot.memory) > _WRITTEN_MAX:
            return
        write_core(snapshot, io.BytesIO())
        write_minidump(snapshot, MINI, io.BytesIO())
    except PerimortemError:
        return


def main() -> int:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    corpus = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="fuzz-"))
    for index, seed in enumerate(sorted((ROOT / "tests/unit/hostile").glob("*"))):
        (corpus / f"seed-{index}").write_bytes(seed.read_bytes())
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX, _MEMORY_MAX))
    options = [f"-max_total_time={seconds}", f"-timeout={_TIMEOUT_S}", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, "-max_len=65536", str(corpus)], exercise)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
