"""Do the work of a command in a confined child; its output is ours."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

assert sys.platform == "linux"

from perimortem.errors import PerimortemError
from perimortem.sandbox.linux.death import die_with_parent


def run_confined(work: Callable[[], int], describe_limit: str) -> int:
    """The status that ``work`` returns in the child, which confines itself when it wants to.

    ``describe_limit``: for the message if the child dies. Raises PerimortemError then."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _live(work)
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child has it, too
    try:
        _, status = os.waitpid(child, 0)
    finally:
        signal.signal(signal.SIGINT, interrupt)
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise PerimortemError(
        f"the examination ended by {signal.Signals(number).name}",
        why="a library failed on this input, or a limit was reached",
        remedy=describe_limit,
    )


def _live(work: Callable[[], int]) -> None:
    """The child: never returns."""
    status = 1
    die_with_parent()
    try:
        status = work()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as Python does at the end of a program
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
