"""``python -m bench [NAME...]``: run the benchmarks, all or by name, and print a line for each."""

from __future__ import annotations

import argparse
import sys

from bench import (
    analysis,
    beats,
    cli_start,
    crashes,
    death,
    dumps,
    hangs,
    large_dumps,
    listing,
    many_targets,
    noticed,
    stacks,
    trees,
    waits,
)

BENCHMARKS = {
    "beats": beats.measure,
    "dumps": dumps.measure,
    "large-dumps": large_dumps.measure,
    "noticed": noticed.measure,
    "listing": listing.measure,
    "crashes": crashes.measure,
    "death": death.measure,
    "hangs": hangs.measure,
    "many-targets": many_targets.measure,
    "trees": trees.measure,
    "analysis": analysis.measure,
    "stacks": stacks.measure,
    "waits": waits.measure,
    "cli-start": cli_start.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name}: {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"{name}:", flush=True)
        for line in BENCHMARKS[name]():
            print(f"  {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
