"""Quaint words where a plain one serves: `python tools/check_words.py`.

Prints `path:line: word (use ...)` for each one in a tracked text file, and exits with 1 if there is any.
Parts of identifiers count as words: `is_told`, `test_a_hang_is_told`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SELF = Path(__file__).resolve().relative_to(ROOT).as_posix()
INSTEAD = {
    "told": "reported, said, shown, noticed",
    "untold": "unreported",
    "whoever": "a process that, a user who; no matter who",
    "whomever": "a process that",
    "whatever": "everything that; regardless of, for any",
    "somebody": "another process, another user; or the passive",
    "anybody": "any process, any user",
    "everybody": "all users, every process",
    "nobody": "no process, no one, nothing; or the passive",
    "in words": "as text, as a sentence, with a reason",
    "of its own": "its own ..., a separate ...",
    "of their own": "their own ...",
    "of your own": "your own ...",
    "amiss": "wrong",
    "anew": "again, re-",
    "let travel": "chain, reraise",
    "lest": "so that ... not",
    "thereof": "of it",
    "hitherto": "so far",
}
ALLOWED = (
    re.compile(r"""["'`]nobody["'`]|\| nobody \||\bNOBODY\b"""),
    re.compile(r"\bfor \w+ in words\b|\bif .+ in words(?=:| and )"),
    re.compile(r"\b(?:die|dies|died) of its own (?:signal|fault)\b"),
)
"""A value of `who.kind`, and the user of that name; code on a variable `words`; plain English."""
EXEMPT = re.compile(rf"LICENSE|docs/decisions/.*|{re.escape(SELF)}")
"""A text that is not ours; decisions stay as they were written."""
RELEASED = re.compile(r"^## \[\d", re.MULTILINE)
"""From here on the changelog is history."""

GAP = r"\s+(?:(?:\*|//|#)\s+)?"
"""Between the words of a phrase, also across lines of a comment."""
WORDS = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(word.replace(' ', GAP) for word in INSTEAD)})(?![A-Za-z])",
    re.IGNORECASE,
)


def list_paths() -> list[str]:
    """Tracked files, and new ones that git does not ignore."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(path for path in result.stdout.split("\0") if path and not EXEMPT.fullmatch(path))


def read_text(path: str) -> str:
    """What is checked of a file; nothing of a binary or deleted one."""
    try:
        text = (ROOT / path).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return RELEASED.split(text, maxsplit=1)[0] if path == "CHANGELOG.md" else text


def find_words(text: str) -> Iterator[tuple[int, str]]:
    """(line, word) of each banned word, in order."""
    for allowed in ALLOWED:
        text = allowed.sub(lambda match: "-" * len(match[0]), text)
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def main() -> int:
    found = []
    for path in list_paths():
        for line, word in find_words(read_text(path)):
            plain = " ".join(part for part in word.lower().split() if part.isalpha())
            found.append(f"{path}:{line}: {plain} (use {INSTEAD[plain]})")
    print("\n".join(dict.fromkeys(found)) or "plain words only")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
