"""requirements/: what development installs is pinned by hash, from no particular index."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
GROUPS = PROJECT["dependency-groups"]
OF_PRODUCT = [
    *PROJECT["project"]["dependencies"],
    *(text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra),
]
NEEDED = {
    "product": OF_PRODUCT,
    "test": [*OF_PRODUCT, *GROUPS["test"]],
    "windows": [*PROJECT["project"]["dependencies"], *GROUPS["windows"]],
    **{name: GROUPS[name] for name in GROUPS if name not in ("test", "windows")},
}


def read_lock(path):
    """(requirement, its hashes) of each entry."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for entry in text.replace("\\\n", "").splitlines():
        requirement, *hashes = entry.split("--hash=")
        yield Requirement(requirement), [one.strip() for one in hashes]


def test_there_is_a_lock_for_each_group():
    assert {path.stem for path in LOCKS} == set(NEEDED)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_every_version_is_pinned_by_hash_from_any_index(path):
    assert "://" not in path.read_text(encoding="utf-8")
    assert "--index" not in path.read_text(encoding="utf-8")
    for requirement, hashes in read_lock(path):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier))
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_the_lock_is_of_what_pyproject_asks_for(path):
    """A bound that was raised since, or a dependency that was added, takes `make lock`."""
    locked = {}
    for requirement, _ in read_lock(path):
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    for needed in map(Requirement, NEEDED[path.stem]):
        if path.stem == "windows" and needed.marker and "linux" in str(needed.marker):
            continue
        found = locked[canonicalize_name(needed.name)]
        versions = [str(one.specifier).removeprefix("==") for one in found]
        assert any(needed.specifier.contains(version) for version in versions), needed


@pytest.mark.skipif(sys.platform == "win32", reason="make is of Linux here")
def test_nothing_is_installed_without_a_hash():
    """Neither by make, nor in the workflows, nor for Wine."""
    files = [ROOT / "Makefile", ROOT / "tools" / "wine" / "setup.py"]
    files += (ROOT / ".github" / "workflows").glob("*.yml")
    for path in files:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if re.search(r"pip['\"]?,? ['\"]?(install|download)", line):
                assert "--require-hashes" in line or "--no-index --no-deps" in line, line
