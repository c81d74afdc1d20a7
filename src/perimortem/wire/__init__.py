"""The protocol between clients and monitor: fixed frames over a local socket (docs/protocol.md).

Only this file selects the system.
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
