"""Coverage-guided fuzzing of dumps: fuzz_dumps.py [SECONDS] [CORPUS] (atheris).

It begins with the seeds of tests/unit/test_hostile_dumps.py and earlier finds, and does with each
input what that test does (read, list, convert, examine): only our own error may be raised; no
hang, no blow-up. Finds are left as crash-* files; put them, minimised, into tests/unit/hostile.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import atheris

UNIT_TESTS = Path(__file__).resolve().parent.parent / "tests" / "unit"
sys.path[:0] = [str(UNIT_TESTS), str(UNIT_TESTS.parent)]

with atheris.instrument_imports(include=["perimortem"]):
    from test_hostile_dumps import HOSTILE, SEEDS, exercise, make_compressed

_MEMORY_MAX = 4 << 30
_TIMEOUT_S = 10


def main() -> int:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    corpus = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="fuzz-"))
    seeds = [*SEEDS.values(), make_compressed(), *(path.read_bytes() for path in HOSTILE)]
    for index, seed in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(seed)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MAX, _MEMORY_MAX))
    options = [f"-max_total_time={seconds}", f"-timeout={_TIMEOUT_S}", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, "-max_len=65536", str(corpus)], exercise)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
