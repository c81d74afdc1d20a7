"""The seam ``write.write_dump(process, path, types) -> DumpResult``, and the worker that does it.

On Linux it is capture, snapshot, minidump writer; on Windows DbgHelp writes the file itself. The monitor
never calls it: a broken process is read by a short-lived child (``worker``) with limits and a
deadline. Only this file and ``write`` select the system.
"""

from __future__ import annotations

import sys

from perimortem.dumping.protocol import Hold

if sys.platform == "win32":
    from perimortem.dumping.windows.access import check_access
    from perimortem.dumping.windows.guard import limit_output, protect_self, worker_environment
    from perimortem.dumping.windows.hold import describe_hold, release
else:
    from perimortem.dumping.linux.access import check_access
    from perimortem.dumping.linux.guard import limit_output, protect_self, worker_environment
    from perimortem.dumping.linux.hold import describe_hold, release

__all__ = [
    "Hold",
    "check_access",
    "describe_hold",
    "limit_output",
    "protect_self",
    "release",
    "worker_environment",
]
