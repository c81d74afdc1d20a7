"""A report on a terminal: wrapped lines with hanging indents, key parts in colour.

Files and pipes get the plain text. The text itself is rendered elsewhere, purely.
"""

from __future__ import annotations

import re
import sys
from typing import TextIO

import click

_STYLES = (
    (r"^  (?P<s>[a-z]+):? ", "bold"),
    (r"^ *(?P<s>#\d+) ", "dim"),
    (r"#\d+ +(?P<s>[^+ ][^+]*?)(?:\+0x[0-9a-f]+ in | at )", "cyan"),
    (r"^ {10,}(?P<s>[^ #][^+]*?) at \S+:\d+", "cyan"),
    (r" at (?P<s>[^ ]+:\d+)", "green"),
    (r"(?P<s>\((?:inlined|Python)\))$", "dim"),
    (r"(?P<s>\[(?:found by search|by [a-z ]+)\])$", "yellow"),
    (r"^ *(?P<s>(?:thread \d+|\d+ threads: \d+)(?: \([^)]*\))?)(?=[,\[ ]|$)", "bold"),
    (r"(?P<s>\[crashed[^]]*\])", "bold red"),
    (r"(?P<s>deadlock of (?:\d+ threads|a thread with itself))", "bold red"),
    (r"^(?P<s>first fault: [^;]*)", "bold red"),
    (r"^  why +(?P<s>.*)", "bold"),
    (r"^  missing:? (?P<s>.*)", "yellow"),
    (r"(?P<s>frames [\d,]+-[\d,]+: .*)", "yellow"),
)
"""(pattern, style); later ones take precedence."""
_HEAD = re.compile(r"  [a-z]{1,7}:? +|^ *#\d+ +| *")
_CONTINUED = 2
_NARROWEST = 30
"""Columns left for the text, below which continuation lines are not indented."""


def echo_text(text: str, *, err: bool = False) -> None:
    """Lines to stdout, or to stderr."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None and stream.isatty():
        _paint(text, stream)
    else:
        click.echo(text, err=err, nl=False)


def _paint(text: str, stream: TextIO) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for line in text.splitlines():
        painted = Text(line)
        for pattern, style in _STYLES:
            for match in re.finditer(pattern, line):
                painted.stylize(style, *match.span("s"))
        before = _HEAD.match(line)
        margin = before.end() if before else 0
        hanging = margin if line[:margin].strip() else margin + _CONTINUED
        room = console.width - hanging
        if len(line) <= console.width or room < _NARROWEST:
            console.print(painted, soft_wrap=True)
            continue
        head, rest = painted.divide([margin])
        for part in rest.wrap(console, room):
            part.rstrip()
            console.print(head + part, soft_wrap=True)
            head = Text(" " * hanging)
