"""What this machine and user permit: the checks common to all systems, and the type of a result."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from perimortem.errors import PerimortemError
from perimortem.recorder import ensure_run_dir, find_run_dir
from perimortem.store.database import Store
from perimortem.store.paths import ensure_data_dir, find_data_dir

_DAYS = 7
_PAUSE_MAX_S = 0.05
"""What a client that crashes, or a signal to be passed on, may wait for. Arbitrary."""
_LEAST_WAIT_S = 0.001


class Importance(StrEnum):
    """How much depends on the check."""

    NEEDED = "needed"
    BETTER = "better"


@dataclass(frozen=True)
class Check:
    """One check with its finding and, if it failed, the remedy."""

    name: str
    ok: bool
    finding: str
    remedy: str
    importance: Importance


def needed(name: str, ok: bool, finding: str, remedy: str = "") -> Check:
    return Check(name, ok, finding, remedy, Importance.NEEDED)


def better(name: str, ok: bool, finding: str, remedy: str = "") -> Check:
    return Check(name, ok, finding, remedy, Importance.BETTER)


def check_run_dir() -> Check:
    path = find_run_dir()
    try:
        ensure_run_dir(path)
    except PerimortemError as error:
        return needed("run directory", False, f"{error.what}: {error.why}", error.remedy)
    return needed("run directory", True, str(path))


def check_store() -> Check:
    try:
        path = ensure_data_dir(find_data_dir()) / "incidents.db"
        Store(path).close()
    except PerimortemError as error:
        return needed("incident store", False, f"{error.what}: {error.why}", error.remedy)
    return needed("incident store", True, str(path))


def check_loop() -> Check:
    """Whether monitors of this user looked away for too long. A store that cannot be read is another
    check's finding."""
    name = "monitor's loop"
    longest = None
    with suppress(PerimortemError), Store(find_data_dir() / "incidents.db") as store:
        longest = store.find_longest_pause(time.time() - _DAYS * 86400)
    if longest is None:
        return better(name, True, f"no pause of 20 ms or more in {_DAYS} days")
    finding = (
        f"longest pause in {_DAYS} days: {longest.pause_s * 1e3:.0f} ms, by `{longest.command}`"
    )
    if longest.waited_s >= _LEAST_WAIT_S:
        finding += f", and {longest.waited_s * 1e3:.0f} ms more without a processor"
    remedy = "nothing is lost by it; please report it, with what was watched"
    return better(name, longest.pause_s <= _PAUSE_MAX_S, finding, remedy)
