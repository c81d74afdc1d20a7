"""How long our thread was ready to run and had no processor: Windows does not count that."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


class ProcessorWait:
    """Always 0."""

    def __init__(self) -> None:
        return

    def read_ns(self) -> int:
        return 0

    def close(self) -> None:
        return
