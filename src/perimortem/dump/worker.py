"""The dump worker: a process that waits for one request, does it, answers, and ends.

It is started before it is needed (a warm spare), without site-packages, and is used once: whatever
a broken target does to it, the next dump has a fresh one. It cannot leave a core, cannot be traced
by its target's user, and cannot write more than the limit.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, without site-packages
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

assert sys.platform == "linux"

import perimortem.dump.linux  # noqa: F401 - all that a dump needs, before the request comes
from perimortem.dump.protocol import decode_request, encode_result
from perimortem.dump.write import write_dump
from perimortem.errors import PerimortemError
from perimortem.model.dump import DumpResult

_PR_SET_DUMPABLE = 4
_PR_SET_PDEATHSIG = 1


def protect_self() -> None:
    """Reporters must not be reported: no core, not dumpable, gone when the monitor is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # an out-of-memory killer should take anybody else first
        Path("/proc/self/oom_score_adj").write_text("-1000")


def main() -> int:
    """Answer one request on standard input; end of input means: not needed."""
    protect_self()
    # The terminal's Ctrl-C goes to the whole group; a dump under way is finished first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    gc.collect()
    gc.freeze()
    gc.disable()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    request = decode_request(line)
    resource.setrlimit(resource.RLIMIT_FSIZE, (request.size_limit_bytes, request.size_limit_bytes))
    try:
        result = write_dump(request.process, request.path, request.types)
    except PerimortemError as error:
        result = DumpResult(None, request.types, 0, 0.0, 0, (), str(error))
    sys.stdout.buffer.write(encode_result(result))
    sys.stdout.buffer.flush()
    return 0


def _end(*_: object) -> None:
    """Leave through the finally blocks: they let the target run on."""
    raise SystemExit(1)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # no interpreter shutdown: the answer is out
