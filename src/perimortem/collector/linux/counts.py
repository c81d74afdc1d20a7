"""What became of the crashes since `install`: the core helpers count, in one file that they map."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.collector.layout import COUNTS_MAGIC, Counts
from perimortem.collector.linux.state import write_file
from perimortem.errors import MalformedInput

NAME = "counts"


def ensure_counts(directory: Path) -> None:
    """All zero, if there are none yet."""
    if read_counts(directory) is None:
        empty = Counts(COUNTS_MAGIC, *(0 for _ in Counts.offsets()[1:]))
        write_file(directory / NAME, empty.to_bytes())


def read_counts(directory: Path) -> dict[str, int] | None:
    """By the field names of ``Counts``; None: there are none."""
    try:
        counts = Counts.read((directory / NAME).read_bytes())
    except (OSError, MalformedInput):
        return None
    if counts.magic != COUNTS_MAGIC:
        return None
    return {name: getattr(counts, name) for name, *_ in Counts.offsets()[1:]}
