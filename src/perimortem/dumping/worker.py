"""The dump worker: a process that waits for one request, carries it out, answers, and exits.

It is started before it is needed (a warm spare), without site-packages, and is used once: no
matter what a broken target does to it, the next dump has a fresh one. It leaves no core, cannot be
traced by its target's user, and cannot write more than the limit. Before it touches the target it
reports the target's state, so that the monitor can restore it if the worker dies (``hold``).
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, without site-packages
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from perimortem.dumping import describe_hold, limit_output, protect_self
from perimortem.dumping.progress import Progress
from perimortem.dumping.protocol import decode_request, encode_hold, encode_progress, encode_result
from perimortem.dumping.write import write_dump
from perimortem.errors import PerimortemError
from perimortem.model.dump import DumpResult


def main() -> int:
    """Answer one request on standard input; end of input means: not needed."""
    protect_self()
    "".encode("utf-16-le"), b"".decode("ascii")  # loads these codecs, which are loaded at first use
    gc.collect()
    gc.freeze()
    gc.disable()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    request = decode_request(line)
    limit_output(request.size_limit_bytes)
    _say(encode_hold(describe_hold(request.process.pid)))
    try:
        result = write_dump(
            request.process,
            request.path,
            request.options,
            request.crash,
            at_exit=request.at_exit,
            recorder=request.recorder,
            on_progress=_on_progress if request.with_progress else None,
            steps_back=True,
        )
    except PerimortemError as error:
        result = DumpResult(None, request.options.types, 0, 0.0, 0, (), str(error))
    _say(encode_result(result))
    return 0


def _on_progress(progress: Progress) -> None:
    _say(encode_progress(progress))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # no interpreter shutdown: the answer is written
