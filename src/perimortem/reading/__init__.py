"""Read of a process what it may keep its reader waiting for.

Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.reading.windows.process_reader import ProcessReader
else:
    from perimortem.reading.linux.process_reader import ProcessReader

__all__ = ["ProcessReader"]
