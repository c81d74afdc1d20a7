"""Unused functions, classes and methods, by vulture: `python tools/check_dead_code.py`.

Fields of records are left alone: a file format has them whether they are read or not.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = ["src", "tests", "bench", "tools", "examples"]
ALLOWED = re.compile(
    r"'(pytest_\w+|_?\w*_command|command|list_commands|format_commands|resolve_command|convert|"
    r"__\w+__|cli|on_files|on_page_markdown|test_\w+|fixture_\w+|main|is_attached|asked_to_stop)'"
)
"""Called by pytest, click, mkdocs, Python itself, or the users of the library."""
LINE = re.compile(r"(?P<place>.*:\d+): unused (function|class|method|property) (?P<name>'\w+') .*")


def main() -> int:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "vulture",
            "--min-confidence",
            "60",
            "--ignore-decorators",
            "@*.register",
            *PATHS,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = []
    for line in result.stdout.splitlines():
        match = LINE.fullmatch(line)
        if match is None or ALLOWED.fullmatch(match["name"]):
            continue
        if match["place"].startswith("src") or match["place"].startswith("tools"):
            found.append(line)
    print("\n".join(found) or "no dead code")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
