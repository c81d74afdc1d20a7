"""Limits of our own process."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def raise_descriptor_limit() -> None:
    """A process may have sixteen million handles: nothing to raise."""
