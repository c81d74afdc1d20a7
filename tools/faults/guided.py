"""Fuzz one reader by coverage: ``python -m tools.faults.guided READER LIBFUZZER-OPTIONS... CORPUS``."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from pathlib import Path

import atheris

with atheris.instrument_imports(include=["perimortem"]):
    from .readers import READERS

from perimortem.errors import PerimortemError


def main() -> int:
    reader = READERS[sys.argv[1]]
    for index, seed in enumerate(reader.make_seeds()):
        (Path(sys.argv[-1]) / f"seed-{index}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            reader.one(data)
        except PerimortemError:
            return

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
