"""Write a dump of a live process: the call that differs most by operating system.

``write_dump(process, path, types) -> DumpResult``; imported by dump workers only.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.dumping.windows.write import write_dump
else:
    from perimortem.dumping.linux.write import write_dump

__all__ = ["write_dump"]
