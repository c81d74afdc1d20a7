"""The sources of this system. Only this file selects it."""

from __future__ import annotations

import sys

from perimortem.exits.watch import ExitWatch

if sys.platform == "win32":
    from perimortem.exits.windows.completion import complete_exit
    from perimortem.exits.windows.sources import (
        open_exit_watch,
        open_gone_watch,
        remember_ends,
    )
    from perimortem.exits.windows.system_log import find_past_kill, open_system_log
else:
    from perimortem.exits.linux.completion import complete_exit
    from perimortem.exits.linux.sources import (
        open_exit_watch,
        open_gone_watch,
        remember_ends,
    )
    from perimortem.exits.linux.system_log import find_past_kill, open_system_log

__all__ = [
    "ExitWatch",
    "complete_exit",
    "find_past_kill",
    "open_exit_watch",
    "open_gone_watch",
    "open_system_log",
    "remember_ends",
]
