"""What the kernel does not know of a wait, but the runtime of a language does."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.examine.runtimes.windows.locks import add_runtime_locks, add_runtime_places
else:
    from perimortem.examine.runtimes.linux.locks import add_runtime_locks, add_runtime_places

__all__ = ["add_runtime_locks", "add_runtime_places"]
