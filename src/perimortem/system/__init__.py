"""The loop's operating system layer: waiting for many things at once, our helpers, limits.

Only this file selects the system.
"""

from __future__ import annotations

import sys

from perimortem.system.leaving import Leaving
from perimortem.system.selector import Selector

if sys.platform == "win32":
    from perimortem.system.windows.helper import Helper
    from perimortem.system.windows.limits import (
        descriptors_max,
        raise_own_limits,
        refuse_own_core,
    )
    from perimortem.system.windows.processor_wait import ProcessorWait
    from perimortem.system.windows.resume import let_run
    from perimortem.system.windows.selector import open_selector
    from perimortem.system.windows.service import Service
    from perimortem.system.windows.terminal import accepts_codes
else:
    from perimortem.system.linux.helper import Helper
    from perimortem.system.linux.limits import (
        descriptors_max,
        raise_own_limits,
        refuse_own_core,
    )
    from perimortem.system.linux.processor_wait import ProcessorWait
    from perimortem.system.linux.resume import let_run
    from perimortem.system.linux.selector import open_selector
    from perimortem.system.linux.service import Service
    from perimortem.system.linux.terminal import accepts_codes

__all__ = [
    "Helper",
    "Leaving",
    "ProcessorWait",
    "Selector",
    "Service",
    "accepts_codes",
    "descriptors_max",
    "let_run",
    "open_selector",
    "raise_own_limits",
    "refuse_own_core",
]
