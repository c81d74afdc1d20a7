"""What clients and monitor say to each other: fixed frames over a local socket (docs/protocol.md).

This file alone chooses the system.
"""

from __future__ import annotations

import sys

from perimortem.wire.listener import AlreadyServed, Connection, Listener, Received

if sys.platform == "win32":
    from perimortem.wire.windows.listener import open_listener, open_own_listener
else:
    from perimortem.wire.linux.listener import open_listener, open_own_listener

__all__ = [
    "AlreadyServed",
    "Connection",
    "Listener",
    "Received",
    "open_listener",
    "open_own_listener",
]
