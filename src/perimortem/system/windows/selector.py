"""The system's thread pool and a completion port."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.system.selector import Selector
from perimortem.system.windows.handle_selector import HandleSelector


def open_selector() -> Selector:
    return HandleSelector()
