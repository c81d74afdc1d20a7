"""What `doctor` examines on this system.

Apart from the rest of the package, since no watch needs it. Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.monitor.platform.windows.doctor import examine
else:
    from perimortem.monitor.platform.linux.doctor import examine

__all__ = ["examine"]
