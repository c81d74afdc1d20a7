"""What the threads of any processes wait for, and who can end that. Nothing is stopped for it.

Only this file selects the system; ``linux`` and ``windows`` have the same names and arguments.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.waiting.windows.collect import collect_graph
else:
    from perimortem.waiting.linux.collect import collect_graph

__all__ = ["collect_graph"]
