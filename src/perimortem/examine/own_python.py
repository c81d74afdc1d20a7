"""Python frames by our own reader: of any dump that has them, and where no other one is installed."""

from __future__ import annotations

from dataclasses import replace

from perimortem.cpython.frames import PythonReader
from perimortem.cpython.layout import UnknownLayout
from perimortem.cpython.runtime import find_runtime
from perimortem.examine.python_frames import NoPythonFrames
from perimortem.model.python_stack import PythonThread
from perimortem.model.snapshot import ReadMemory, Snapshot


def add_holder(own: list[PythonThread], other: list[PythonThread]) -> list[PythonThread]:
    """``own``, with what another reader knows besides: names, and which thread holds the GIL.

    A thread of which it has more frames is taken from it: the snapshot may lack some."""
    by_tid = {thread.tid: thread for thread in other}
    found = []
    for thread in own:
        more = by_tid.pop(thread.tid, None)
        if more is None:
            found.append(thread)
        elif len(more.frames) > len(thread.frames):
            found.append(more)
        else:
            found.append(replace(thread, name=more.name, holds_gil=more.holds_gil))
    return [*found, *by_tid.values()]


def read_own(snapshot: Snapshot, read: ReadMemory) -> list[PythonThread]:
    """Raises NoPythonFrames."""
    found = find_runtime(snapshot.modules, read)
    if found is None:
        raise NoPythonFrames("its interpreter was not found in the dump")
    exception = snapshot.exception
    try:
        reader = PythonReader(read, *found)
        threads = reader.read_threads(
            snapshot.threads, exception.tid if exception is not None else None
        )
    except UnknownLayout as error:
        raise NoPythonFrames(str(error)) from error
    threads = [thread for thread in threads if thread.frames]
    if not threads:
        raise NoPythonFrames("the dump does not have their memory (--type full does)")
    return threads
