"""Commands that read what others wrote do so in a confined process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from perimortem.cli.failures import report_failures
from perimortem.config.resolve import resolve
from perimortem.errors import PerimortemError
from perimortem.report.units import format_size
from perimortem.sandbox import confine, find_owner, find_user, run_confined
from perimortem.sandbox.confinement import Confinement, User
from perimortem.symbols.cache import find_cache_dir

BeforeParsing = Callable[[], None]
_REMEDY = "set PERIMORTEM_EXAMINE_MEMORY=2G, or examine-memory in the configuration"


def examine_confined(
    work: Callable[[BeforeParsing], int],
    what: int | Path,
    *,
    writable: tuple[Path, ...] = (),
    reads_ours: bool = False,
) -> int:
    """The status of ``work``, which is given a function to call once what it reads is open.

    ``what``: the process or the file. As root its user's rights are taken, unless ``work`` writes into
    directories of ours (``writable``) or reads some (``reads_ours``)."""
    user = None
    if not writable and not reads_ours:
        user = find_user(what) if isinstance(what, int) else find_owner(what)
    confinement = _plan(user, writable)
    limit = format_size(confinement.memory_bytes)

    @lru_cache(maxsize=1)  # of several files, the first
    def before_parsing() -> None:
        confine(confinement)

    def run() -> int:
        try:
            return work(before_parsing)
        except MemoryError as error:
            raise PerimortemError(
                f"{what} cannot be examined", why=f"that takes more than {limit} of memory",
                remedy=_REMEDY,
            ) from error  # fmt: skip

    return run_confined(lambda: report_failures(run), _REMEDY)


def _plan(user: User | None, writable: tuple[Path, ...]) -> Confinement:
    cache_dir = find_cache_dir()
    with suppress(OSError):
        cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    directories = (cache_dir, Path(tempfile.gettempdir()), *writable)
    return Confinement(resolve({})["examine-memory"], None, user, directories)
