"""Options of an examination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perimortem.symbols.files import FileFinder, ImageLibrary
from perimortem.symbols.tried import Fetch, SearchLog


@dataclass(frozen=True)
class ExamineOptions:
    """``library``: its creator closes it when the examinations are over."""

    library: ImageLibrary
    symbol_dirs: tuple[Path, ...] = ()
    fetch: Fetch | None = None
    """Asks symbol servers."""
    log: SearchLog | None = None
    """Of the search for files."""
    with_lines: bool = True
    with_python: bool = True
    root: Path = Path("/")
    """Prepended to the paths of modules."""
    before_parsing: Callable[[], None] = lambda: None
    """Called once everything is at hand that takes rights, before anything is parsed."""

    def make_finder(self) -> FileFinder:
        """Searches for the files of one snapshot's modules."""
        return FileFinder(self.library, self.root, self.symbol_dirs, fetch=self.fetch, log=self.log)
