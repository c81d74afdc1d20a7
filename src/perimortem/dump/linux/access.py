"""May this process be dumped, and is somebody else at it?"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.capture.linux import access
from perimortem.model.dump import MinidumpType


def check_access(pid: int, types: MinidumpType) -> None:
    """Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched."""
    access.check_access(pid)
