"""The platform seam reads the same from both sides: the modules of ``linux/`` and ``windows/`` that bear
one name have the same public names, with the same arguments; and few files choose between the two."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import perimortem

PACKAGE = Path(perimortem.__file__).parent
SIDES = [path for path in PACKAGE.rglob("windows") if (path.parent / "linux").is_dir()]
PAIRS = [
    (path, path.parent.parent / "linux" / path.name)
    for side in SIDES
    for path in sorted(side.glob("*.py"))
    if (path.parent.parent / "linux" / path.name).exists() and path.name != "__init__.py"
]
CHOOSERS = {
    "collector/__init__.py",
    "dump/__init__.py",
    "examine/__init__.py",
    "dump/write.py",
    "exits/sources.py",
    "monitor/platform/__init__.py",
    "proc/__init__.py",
    "recorder/__init__.py",
    "system/__init__.py",
    "wire/__init__.py",
}


def read_public(path: Path) -> dict[str, object]:
    """Public functions with their arguments, classes with their public methods, and constants."""
    found: dict[str, object] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found[node.name] = read_arguments(node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found[node.name] = node.name
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found |= {name: "constant" for name in names if not name.startswith("_")}
    return found


def read_arguments(node: ast.FunctionDef) -> tuple[list[str], list[str]]:
    arguments = node.args
    return [a.arg for a in arguments.args], [a.arg for a in arguments.kwonlyargs]


def read_imported(chooser: Path, side: str) -> dict[str, set[str]]:
    """Names that a chooser takes from one side, by module."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(chooser.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and f".{side}." in node.module:
            found.setdefault(node.module.rsplit(".", 1)[1], set()).update(
                a.name for a in node.names
            )
    return found


def test_there_are_pairs():
    assert len(PAIRS) >= 20


@pytest.mark.parametrize("chooser", sorted(CHOOSERS))
def test_a_chooser_takes_the_same_from_both_sides(chooser):
    linux, windows = (read_imported(PACKAGE / chooser, side) for side in ("linux", "windows"))
    assert linux
    assert linux == windows


@pytest.mark.parametrize("chooser", sorted(CHOOSERS))
def test_what_it_takes_has_the_same_arguments(chooser):
    folder = (PACKAGE / chooser).parent
    for module, names in read_imported(PACKAGE / chooser, "linux").items():
        linux = read_public(folder / "linux" / f"{module}.py")
        windows = read_public(folder / "windows" / f"{module}.py")
        for name in names:
            assert linux[name] == windows[name], f"{module}.{name}"


@pytest.mark.parametrize(
    ("windows", "linux"), PAIRS, ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_modules_of_one_name_have_the_same_public_names(windows, linux):
    def names(path: Path) -> set[str]:
        return {name for name, what in read_public(path).items() if what != "constant"}

    assert names(windows) == names(linux)


def test_nobody_else_names_a_platform():
    pattern = re.compile(r"from perimortem[\w.]*\.(linux|windows)[.\w]* import")
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        if {"linux", "windows", "winapi"} & set(relative.parts) or str(relative) in CHOOSERS:
            continue
        if relative.as_posix() in CHOOSERS:
            continue
        assert not pattern.search(path.read_text(encoding="utf-8")), relative
