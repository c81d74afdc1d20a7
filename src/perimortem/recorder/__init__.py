"""The flight recorder's file: its layout, and the monitor's side of it (find, read, be notified of it).

The target's side, which writes it, is the C library in ``native/``. Only this file selects the system.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.recorder.windows.directory import ensure_run_dir, find_run_dir
    from perimortem.recorder.windows.events import RecorderEvents
    from perimortem.recorder.windows.file import RecorderFile, recorder_path
else:
    from perimortem.recorder.linux.directory import ensure_run_dir, find_run_dir
    from perimortem.recorder.linux.events import RecorderEvents
    from perimortem.recorder.linux.file import RecorderFile, recorder_path

__all__ = [
    "RecorderEvents",
    "RecorderFile",
    "ensure_run_dir",
    "find_run_dir",
    "recorder_path",
]
