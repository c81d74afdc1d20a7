"""An answer from a confined child, by a library that may fail on what others wrote."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

assert sys.platform == "linux"

from perimortem.errors import PerimortemError
from perimortem.sandbox.confinement import Confinement
from perimortem.sandbox.linux.confine import confine
from perimortem.sandbox.linux.death import die_with_parent

_ANSWER_MAX = 16 << 20
_FAILED = 1


def ask_confined(work: Callable[[], bytes], confinement: Confinement, patience_s: float) -> bytes:
    """What ``work`` returns in a forked child, in ``patience_s``. Raises PerimortemError if it dies."""
    ours, its = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            _live(work, confinement, its)
    except OSError as error:
        os.close(ours)
        raise PerimortemError("no child", why=error.strerror or str(error)) from error
    finally:
        os.close(its)
    try:
        answer = _read_all(ours, time.monotonic() + patience_s)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(ours)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise PerimortemError(f"it ended by {signal.Signals(-code).name}")
    if code:
        raise PerimortemError(f"it failed (status {code})")
    return answer


def _read_all(fd: int, until_s: float) -> bytes:
    answer = bytearray()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(answer) <= _ANSWER_MAX:
        if not poll.poll(max(0.0, until_s - time.monotonic()) * 1e3):
            raise PerimortemError("it took too long")
        part = os.read(fd, 65536)
        if not part:
            return bytes(answer)
        answer += part
    raise PerimortemError("its answer is too long")


def _live(work: Callable[[], bytes], confinement: Confinement, its: int) -> NoReturn:
    """The child."""
    status = _FAILED
    try:
        die_with_parent()
        confine(confinement)
        answer = memoryview(work())
        while answer:
            answer = answer[os.write(its, answer) :]
        status = 0
    finally:
        os._exit(status)
