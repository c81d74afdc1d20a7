"""The system's own collector of dumps, for what no handler and no watch sees: set up, shown, taken away.

On Windows WER LocalDumps. This file alone chooses the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.collector.windows.install import install, list_installed, uninstall
else:
    from perimortem.collector.linux.install import install, list_installed, uninstall

__all__ = ["install", "list_installed", "uninstall"]
