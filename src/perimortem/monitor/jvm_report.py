"""The error file that a Java VM writes as it crashes: hs_err_pidPID.log, in its working directory.

Source: "Fatal Error Log" of Oracle's troubleshooting guide (-XX:ErrorFile may put it elsewhere).
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from perimortem.analysis.last_words import read_last_words
from perimortem.model.last_words import LastWords

_HEAD_BYTES = 16 << 10
"""What happened, and where: the rest is settings and maps, which are in the dump."""


def read_jvm_report(pid: int) -> LastWords | None:
    """That of the process, if it wrote one where we and it were started."""
    path = Path.cwd() / f"hs_err_pid{pid}.log"
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        words = read_last_words(file.read(_HEAD_BYTES) or b"", str(path))
    if words is None or words.said is None:
        return None
    return replace(words, said=replace(words.said, file=str(path)))
