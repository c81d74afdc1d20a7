"""For mkdocs.yml: files outside docs/ that a page links to become part of the site, below source/."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)\)")


def _find_outside(page: str, link: str) -> str | None:
    """The path in the repository that ``link`` on ``page`` means, if it is a file outside docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    is_outside = not path.startswith(("docs/", "../")) and (ROOT / path).is_file()
    return path if is_outside else None


def _place(path: str) -> str:
    """As text: a page made of another README would have links that lead nowhere here."""
    return f"source/{path}.txt"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs once it has found the pages."""
    from mkdocs.structure.files import File

    outside = {
        path
        for file in files.documentation_pages()
        for link in LINK.findall(file.content_string)
        if (path := _find_outside(file.src_uri, link)) is not None
    }
    for path in sorted(outside):
        content = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, _place(path), content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    folder = posixpath.dirname(page.file.src_uri)

    def replace(found: re.Match[str]) -> str:
        path = _find_outside(page.file.src_uri, found[1])
        if path is None:
            return found[0]
        return f"]({posixpath.relpath(_place(path), folder or '.')})"

    return LINK.sub(replace, markdown)
