"""The debugger that is installed here."""

from __future__ import annotations

import shutil
import sys

from perimortem.errors import PerimortemError

_NAMES = ("windbgx", "windbg", "cdb", "lldb") if sys.platform == "win32" else ("gdb", "lldb")


def find_debugger(wanted: str | None, *, has_core: bool) -> str:
    """Its path: of ``wanted``, else of the first that there is. Raises PerimortemError.

    ``has_core``: there is a core, without which gdb reads nothing."""
    usual = [name for name in _NAMES if has_core or name != "gdb"]
    for name in (wanted,) if wanted is not None else usual:
        path = shutil.which(name)
        if path is not None:
            return path
    what = wanted if wanted is not None else " or ".join(usual)
    remedy = (
        "install WinDbg"
        if sys.platform == "win32"
        else f"install {usual[0]}, or name one: --debugger PATH"
    )
    raise PerimortemError(f"there is no {what} here", remedy=remedy)
