"""The system's own dump collector, for crashes that no handler and no watch sees: install, list, remove.

On Windows WER LocalDumps. Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.collector.windows.install import install, list_installed, uninstall
else:
    from perimortem.collector.linux.install import install, list_installed, uninstall

__all__ = ["install", "list_installed", "uninstall"]
