"""How an examination is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExamineOptions:
    """``root``: in front of the paths of modules."""

    symbol_dirs: tuple[Path, ...] = ()
    use_debuginfod: bool = False
    with_lines: bool = True
    with_python: bool = True
    root: Path = Path("/")
