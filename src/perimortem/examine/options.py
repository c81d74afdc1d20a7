"""Options of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perimortem.symbols.files import ImageLibrary


@dataclass(frozen=True)
class ExamineOptions:
    """``library``: its creator closes it when the examinations are over."""

    library: ImageLibrary
    symbol_dirs: tuple[Path, ...] = ()
    use_debuginfod: bool = False
    with_lines: bool = True
    with_python: bool = True
    root: Path = Path("/")
    """Prepended to the paths of modules."""
