"""``python -m tools.faults [ROW...]``: play the rows of the fault campaign, all or by name."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import argparse
import signal
import time
from pathlib import Path

import msgspec

from .frames import Frames
from .fuzz import Fuzz
from .kills import Kills
from .page import render_page
from .play import play_apart, play_here, play_row
from .resting import RestingRow
from .row import Plan, Played, Row, Total
from .soak import Soak
from .store import Store
from .storm import Storm
from .targets import Targets

ROWS: dict[str, Row] = {
    row.name: row
    for row in (Kills(), Store(), Frames(), Storm(), Targets(), Fuzz(), Soak(), RestingRow())
}
FULL_S = {
    "kills": 300.0,
    "store": 120.0,
    "frames": 60.0,
    "storm": 150.0,
    "targets": 90.0,
    "fuzz": 90.0,
    "soak": 90.0,
    "resting": 90.0,
}
SHORT_S = {
    "kills": 30.0,
    "store": 20.0,
    "frames": 10.0,
    "storm": 10.0,
    "targets": 8.0,
    "fuzz": 12.0,
    "soak": 10.0,
    "resting": 10.0,
}
"""After which no further case is begun."""


def main() -> int:
    # A shell ignores it for what runs in the background, and then no program here would be ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tools.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--short", action="store_true", help="the short form, at most 2 minutes")
    parser.add_argument("--seconds", type=float, help="time for each row")
    parser.add_argument("--seed", type=int, help="what is drawn by chance; else 1, or the time")
    parser.add_argument("--only", metavar="CASE", help="play this case of the row")
    parser.add_argument("--prefix", default="", help="play the cases whose names begin so")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--page", metavar="FILE", help="write the figures into this page")
    options = parser.parse_args()
    for name in options.rows:
        if name not in ROWS:
            parser.error(f"no row {name}: {', '.join(ROWS)}")
    rows = [ROWS[name] for name in options.rows or ROWS]
    if options.only:
        return _play_one(rows[0], options.only, is_apart=options.apart)
    seed = options.seed
    if seed is None:
        seed = 1 if options.short else int(time.time())
    print(f"seed {seed}", flush=True)
    plan = Plan(seed, options.short, options.prefix)
    totals = []
    for row in rows:
        seconds = options.seconds or (SHORT_S if options.short else FULL_S)[row.name]
        totals.append(play_row(row, plan, seconds, _say))
        _print(totals[-1])
    if options.page:
        command = " ".join(["python -m tools.faults", *sys.argv[1:]])
        Path(options.page).write_text(render_page(totals, seed, command), encoding="utf-8")
    return int(any(total.problems for total in totals))


def _play_one(row: Row, case: str, *, is_apart: bool) -> int:
    if is_apart:
        played = play_here(row, case)
        sys.stdout.buffer.write(msgspec.json.encode(played))
        return 0
    total = Total(row)
    total.take(case, played := play_apart(row, case, None))
    _say(row, case, played)
    _print(total)
    return int(bool(total.problems))


def _say(row: Row, case: str, played: Played) -> None:
    for figure, what in played.problems:
        print(
            f"{row.name}: {figure}: {what}\n  python -m tools.faults {row.name} --only {case}",
            flush=True,
        )


def _print(total: Total) -> None:
    figures = ", ".join(f"{figure} {number:g}" for figure, number in total.list_figures())
    print(f"{total.row.name} ({total.seconds:.0f} s): {figures}", flush=True)
    for case, why in total.not_tried.items():
        print(f"  not tried: {case}: {why}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
