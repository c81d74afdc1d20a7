"""Confine this process before it reads what others wrote: dumps, programs, symbol files.

Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.sandbox.windows.ask import ask_confined
    from perimortem.sandbox.windows.confine import confine, end_with_parent
    from perimortem.sandbox.windows.run import run_confined
    from perimortem.sandbox.windows.user import find_owner, find_user
else:
    from perimortem.sandbox.linux.ask import ask_confined
    from perimortem.sandbox.linux.confine import confine, end_with_parent
    from perimortem.sandbox.linux.run import run_confined
    from perimortem.sandbox.linux.user import find_owner, find_user

__all__ = [
    "ask_confined",
    "confine",
    "end_with_parent",
    "find_owner",
    "find_user",
    "run_confined",
]
