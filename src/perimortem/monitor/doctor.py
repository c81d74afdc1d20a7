"""What this machine and user permit: the checks common to all systems, and the type of a result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.errors import PerimortemError
from perimortem.recorder import ensure_run_dir, find_run_dir
from perimortem.store.database import Store
from perimortem.store.paths import ensure_data_dir, find_data_dir


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
