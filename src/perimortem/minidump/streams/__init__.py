"""The streams that we write, one file each, and their registry.

A stream is a function from the snapshot to its bytes; None means: not requested, or empty.
To add one: declare its records in ``minidump/format.py``, write ``streams/NAME.py``, and name it in
``STREAMS``.
"""

from __future__ import annotations

from perimortem.minidump.streams.dso_debug import write_dso_debug
from perimortem.minidump.streams.exception import write_exception
from perimortem.minidump.streams.handles import write_handle_details, write_handles
from perimortem.minidump.streams.memory_info import write_memory_info
from perimortem.minidump.streams.misc_info import write_misc_info
from perimortem.minidump.streams.modules import write_modules
from perimortem.minidump.streams.proc_files import PROC_FILE_STREAMS
from perimortem.minidump.streams.record import write_record
from perimortem.minidump.streams.system_info import write_system_info
from perimortem.minidump.streams.thread_info import write_thread_info
from perimortem.minidump.streams.thread_names import write_thread_names
from perimortem.minidump.streams.token import write_token
from perimortem.minidump.streams.writing import StreamWriter
from perimortem.minidump.streams.xstate import write_xstate

STREAMS: tuple[StreamWriter, ...] = (
    write_system_info,
    write_misc_info,
    write_thread_info,
    write_thread_names,
    write_modules,
    write_exception,
    write_memory_info,
    write_handles,
    write_handle_details,
    write_token,
    write_dso_debug,
    *PROC_FILE_STREAMS,
    write_record,
    write_xstate,
)
"""In file order. Threads and memory come last, by ``writer``."""

__all__ = ["STREAMS", "StreamWriter"]
