"""May this process be dumped, which right is missing if not, and is WerFault working on it?"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.dumping.windows.refusal import denied_error, refuse_32_bit
from perimortem.dumping.windows.rights import choose_rights
from perimortem.dumping.windows.werfault import await_reporter
from perimortem.errors import ProcessGone
from perimortem.model.dump import DumpOptions
from perimortem.proc import read_stat
from perimortem.winapi import kernel32
from perimortem.winapi.library import last_error


def check_access(pid: int, options: DumpOptions) -> None:
    """Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched."""
    facts = read_stat(pid)
    if facts is not None and facts.is_dead:
        raise ProcessGone(f"process {pid} has ended", why="only a handle of it is left")
    with kernel32.open_process(choose_rights(options.types), pid) as handle:
        if not handle:
            raise denied_error(pid, choose_rights(options.types), last_error())
        refuse_32_bit(pid, handle)
    await_reporter(pid)
