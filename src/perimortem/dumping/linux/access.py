"""May this process be dumped, and is another tracer attached?"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.capture.linux import access
from perimortem.model.dump import DumpOptions, Pause


def check_access(pid: int, options: DumpOptions) -> None:
    """Raises ProcessGone, AccessDenied or CaptureFailed before anything is touched."""
    access.check_access(pid, is_traced=options.pause is not Pause.NONE)
