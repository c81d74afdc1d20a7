"""Damaged and hostile input for every reader.

Cases: READER/mutated/SECONDS/SEED, READER/guided/SECONDS/SEED (by coverage, where atheris is installed),
READER/file/PATH. An input that fails is kept in build/faults.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import hashlib
import importlib.util
import random
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from perimortem.errors import PerimortemError

from .mutate import mutate
from .place import ROOT
from .row import Plan, Played, Row

KEPT = ROOT / "build" / "faults"
_ONE_S = 10
"""For one input. Arbitrary."""
_MEMORY_MAX = 2 << 30
NAMES = (
    "dumps", "elf", "dwarf", "expressions", "breakpad", "recorder", "messages", "process-lists",
    "settings", "reports", "wer", "maps", "names", "answers",
)  # fmt: skip
_STATS = {
    "stat::number_of_executed_units": "guided executions",
    "stat::peak_rss_mb": "largest memory, MB",
    "stat::slowest_unit_time_sec": "slowest input, s",
}


class TooSlow(Exception):
    """Took longer than one input may."""


class Fuzz(Row):
    name = "fuzz"
    title = "damaged and hostile input of every reader"
    zeros = ("other errors", "too slow", "failed")

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Every reader, again and again."""
        chance = random.Random(plan.seed)
        is_guided = False
        while True:
            for name in NAMES:
                how = "guided" if is_guided else "mutated"
                yield f"{name}/{how}/{1 if plan.is_short else 5}/{chance.randrange(1 << 31)}"
            is_guided = not is_guided and importlib.util.find_spec("atheris") is not None

    def play(self, case: str) -> Played:
        name, how, rest = case.split("/", 2)
        played = Played()
        if how == "file":
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_MAX, _MEMORY_MAX))
            _try_one(name, Path(rest).read_bytes(), played)
        elif how == "guided":
            seconds, seed = rest.split("/")
            _play_guided(name, int(seconds), int(seed), played)
        else:
            seconds, seed = rest.split("/")
            resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_MAX, _MEMORY_MAX))
            _play_mutated(name, float(seconds), int(seed), played)
        return played


def _play_mutated(name: str, seconds: float, seed: int, played: Played) -> None:
    from .readers import READERS

    seeds = READERS[name].make_seeds()
    chance = random.Random(seed)
    for data in seeds:
        _try_one(name, data, played)
    due = time.monotonic() + seconds
    while time.monotonic() < due and not played.problems:
        _try_one(name, mutate(seeds, chance), played)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    played.worst["largest memory, MB"] = round(peak_mb)


def _try_one(name: str, data: bytes, played: Played) -> None:
    from .readers import READERS

    def give_up(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_ONE_S)
    begin = time.monotonic()
    try:
        READERS[name].one(data)
    except PerimortemError:
        pass
    except TooSlow:
        played.fail("too slow", _keep(name, data))
    except Exception as error:  # noqa: BLE001 - what is looked for
        played.fail("other errors", f"{type(error).__name__}: {error!s:.200}; {_keep(name, data)}")
    finally:
        signal.alarm(0)
    took = time.monotonic() - begin
    played.add("executions")
    played.worst["slowest input, s"] = max(played.worst.get("slowest input, s", 0), round(took, 2))


def _keep(name: str, data: bytes) -> str:
    """The case that tries the same input again."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return f"--only {name}/file/{path.relative_to(ROOT)}"


def _play_guided(name: str, seconds: int, seed: int, played: Played) -> None:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        options = [
            f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={_ONE_S}", "-rss_limit_mb=2048",
            "-max_len=65536", "-print_final_stats=1", f"-artifact_prefix={folder}/found-",
        ]  # fmt: skip
        argv = [sys.executable, "-m", "tools.faults.guided", name, *options, folder]
        ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        for line in ran.stderr.splitlines():
            stat, _, number = line.partition(":  ") if ":  " in line else line.rpartition(":")
            figure = _STATS.get(stat.strip())
            if figure == "guided executions":
                played.add(figure, float(number))
            elif figure is not None:
                played.worst[figure] = max(played.worst.get(figure, 0), float(number))
        found = sorted(Path(folder).glob("found-*"))
        for path in found:
            error = re.search(r"^(\w+(?:\.\w+)*(?:Error|Exception).*)$", ran.stderr, re.MULTILINE)
            what = error[1][:200] if error else path.name
            played.fail("other errors", f"{what}; {_keep(name, path.read_bytes())}")
        if ran.returncode != 0 and not found:
            played.fail("failed", ran.stderr[-1000:])
