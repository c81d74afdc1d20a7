"""reap_clones.py PID TICKS: have PID wait for the dead clones that a killed worker has left in it."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

if __name__ == "__main__":  # started by path, without site-packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from perimortem.capture.linux.clone import find_left_clones, has_seccomp, reap_clone
from perimortem.dumping.linux.guard import protect_self


def main() -> int:
    """0 if none is left."""
    pid, since_ticks = int(sys.argv[1]), int(sys.argv[2])
    protect_self()
    clones = find_left_clones(pid, since_ticks)
    reaped = [reap_clone(pid, clone, has_seccomp=has_seccomp(pid)) for clone in clones]
    return 0 if all(reaped) else 1


if __name__ == "__main__":
    raise SystemExit(main())
