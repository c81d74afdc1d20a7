"""The most system-specific part of watching a command: starting it, and relaying signals to it.

Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.monitor.platform.windows.command import Command
    from perimortem.monitor.platform.windows.command_link import CommandLink
    from perimortem.monitor.platform.windows.end_requests import EndRequests
    from perimortem.monitor.platform.windows.ending import end_like
    from perimortem.monitor.platform.windows.observers import NEEDS_LAUNCH, open_observers
    from perimortem.monitor.platform.windows.unwatched import Unwatched
else:
    from perimortem.monitor.platform.linux.command import Command
    from perimortem.monitor.platform.linux.command_link import CommandLink
    from perimortem.monitor.platform.linux.end_requests import EndRequests
    from perimortem.monitor.platform.linux.ending import end_like
    from perimortem.monitor.platform.linux.observers import NEEDS_LAUNCH, open_observers
    from perimortem.monitor.platform.linux.unwatched import Unwatched

__all__ = [
    "NEEDS_LAUNCH",
    "Command",
    "CommandLink",
    "EndRequests",
    "Unwatched",
    "end_like",
    "open_observers",
]
