"""Locked versions with the hashes of their files: `python tools/lock.py`, or `make lock`.

Writes requirements/NAME.txt from pyproject.toml. Each holds the SHA-256 of every file of a version, for
all systems and Pythons, and names no index: it is good for any mirror. All have the same versions, but
for the two of Windows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
HEADER = "# Written by `make lock` from pyproject.toml, for pip install --require-hashes.\n"
PRODUCT = ("pyproject.toml", "--all-extras")
EVERYWHERE = ("--universal", "--python-version", "3.11")
ON_WINDOWS = ("--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.11")
"""Not universal: for Wine a pip of Linux installs them, and reads markers as those of Linux."""
LOCKS: dict[str, tuple[str, ...]] = {
    "build": ("--group", "build"),
    "product": PRODUCT,
    "test": (*PRODUCT, "--group", "test"),
    "dev": ("--group", "dev"),
    "docs": ("--group", "docs"),
    "curve": ("--group", "curve"),
    "fuzz": ("--group", "fuzz"),
    "lock": ("--group", "lock"),
}
"""What each file of the common resolution is made from."""
WINDOWS_LOCKS: dict[str, tuple[str, ...]] = {
    "windows": ("pyproject.toml", "--group", "windows"),
    "windows-python": ("--group", "windows-python"),
}


def compile_lock(path: Path, *arguments: str) -> None:
    """Resolve to the newest versions. Raises CalledProcessError; uv has printed why."""
    subprocess.run(
        [
            sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--generate-hashes",
            "--no-emit-index-url", "--no-annotate", "--no-header", "--output-file", path, *arguments,
        ],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder) / "versions.txt"
        groups = [word for inputs in LOCKS.values() for word in inputs if word not in PRODUCT]
        compile_lock(versions, *PRODUCT, *groups, *EVERYWHERE)
        for name, inputs in LOCKS.items():
            lock = Path(folder) / f"{name}.txt"
            compile_lock(lock, *inputs, *EVERYWHERE, "--constraint", str(versions))
        for name, inputs in WINDOWS_LOCKS.items():
            compile_lock(Path(folder) / f"{name}.txt", *inputs, *ON_WINDOWS)
        for name in (*LOCKS, *WINDOWS_LOCKS):
            text = (Path(folder) / f"{name}.txt").read_text()
            (FOLDER / f"{name}.txt").write_text(HEADER + text)


if __name__ == "__main__":
    main()
