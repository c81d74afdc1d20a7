"""The documentation: every fact and every kind of culprit is listed, links lead somewhere, and what is
made from the program is what the program says today. And the version is the same everywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import perimortem
from perimortem.model.fact import FactCode
from perimortem.model.who import How, WhoKind

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def read_rows(heading: str) -> list[str]:
    """The first cells of the rows of the table of docs/evidence.md whose head begins so."""
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    table = text[text.index(f"| {heading} |") :].split("\n\n", 1)[0]
    return re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "words"), [("code", FactCode), ("kind", WhoKind), ("how", How)]
)
def test_every_word_of_the_evidence_stands_in_its_table_once(heading, words):
    assert read_rows(heading) == [str(word) for word in words]


def read_values() -> dict[str, list[str]]:
    """The values of each fact, by the rows of docs/evidence.md."""
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z-]+)` \| ([a-z_, -]+) \|", text[: text.index("## Who")], re.MULTILINE
    )
    return {code: [] if values == "-" else values.split(", ") for code, values in rows}


def test_values_that_the_source_names_are_documented():
    source = (ROOT / "src" / "perimortem" / "model" / "fact.py").read_text(encoding="utf-8")
    named = re.findall(r'= "([a-z-]+)"\n    """[^"[]*\[([a-z_, ]+)\]', source)
    assert len(named) > 20
    documented = read_values()
    for code, values in named:
        assert set(values.split(", ")) <= set(documented[code]), code


def make_anchor(heading: str) -> str:
    """As GitHub and mkdocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def find_broken_links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
        elif anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor not in map(make_anchor, headings):
                broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert find_broken_links(page) == []


def test_every_page_is_reached_from_the_index():
    linked = {
        (DOCS / link.partition("#")[0]).resolve()
        for link in LINK.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    }
    assert {page for page in DOCS.rglob("*.md") if page not in linked} == {DOCS / "index.md"}


def test_every_test_that_security_md_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = {
        name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    }
    assert len(named) > 20
    assert named - defined == set()


@pytest.mark.skipif(sys.platform == "win32", reason="options that one system lacks look different")
@pytest.mark.parametrize("tool", ["generate_cli_reference.py", "generate_api_reference.py"])
def test_references_are_what_the_program_says(tool):
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / tool, "--check"], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_there_is_one_version():
    """pyproject.toml reads it from the package, native/CMakeLists.txt from the header."""
    header = (ROOT / "native" / "include" / "perimortem.h").read_text(encoding="utf-8")
    assert f'#define PERIMORTEM_VERSION "{perimortem.__version__}"' in header
    for path in ("pyproject.toml", "native/CMakeLists.txt"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert perimortem.__version__ not in text, path
