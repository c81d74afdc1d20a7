"""docs/reliability.md, written from the figures of one campaign."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from .row import Total

TEMPLATE = Path(__file__).with_name("reliability.md.in")


def render_page(totals: Sequence[Total], seed: int, command: str) -> str:
    """The template with its places filled in."""
    places = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": _describe_machine(),
        "command": command,
        "seed": str(seed),
        "table": "\n".join(_render_row(total) for total in totals),
        "not_tried": "\n".join(_list_not_tried(totals)) or "- Nothing of it was skipped.",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in places.items():
        text = text.replace(f"@{name}@", value)
    return text


def _render_row(total: Total) -> str:
    figures = total.list_figures()
    zeros = dict.fromkeys(total.row.zeros)
    done = "; ".join(f"{figure}: {number:,g}" for figure, number in figures if figure not in zeros)
    must = "; ".join(f"{figure} **{number:g}**" for figure, number in figures if figure in zeros)
    return f"| `{total.row.name}`: {total.row.title} | {done}; {total.seconds:.0f} s | {must} |"


def _list_not_tried(totals: Sequence[Total]) -> list[str]:
    return [
        f"- `{total.row.name}` {case}: {why}"
        for total in totals
        for case, why in total.not_tried.items()
    ]


def _describe_machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return (
        f"Linux {platform.release().partition('-')[0]} {platform.machine()}, "
        f"{os.cpu_count()} processors, {memory_gib:.0f} GiB, "
        f"Python {platform.python_version()}, as {who}"
    )
