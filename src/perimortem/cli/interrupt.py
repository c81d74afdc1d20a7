"""Ctrl-C while another program has the terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """In the body Ctrl-C does nothing to this process; a program started there has it as usual."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # a handler is not inherited
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
