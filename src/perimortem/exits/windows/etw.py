"""Ends of processes that are not held, from ETW: kept by (pid, creation time), which is unique."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict

assert sys.platform == "win32"

from perimortem.errors import MalformedInput
from perimortem.exits.process_stop import ProcessStop, decode_process_stop
from perimortem.exits.windows.etw_session import EtwSession
from perimortem.model.process import ProcessRef

_REMEMBERED = 4096


class ProcessEnds:
    """Filled by the session's thread, read by the monitor's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: OrderedDict[tuple[int, int], ProcessStop] = OrderedDict()

    def take(self, version: int, payload: bytes) -> None:
        """One event; what cannot be decoded is left out."""
        try:
            stop = decode_process_stop(version, payload)
        except MalformedInput:
            return
        with self._lock:
            self._stops[stop.pid, stop.create_time] = stop
            while len(self._stops) > _REMEMBERED:
                self._stops.popitem(last=False)

    def find(self, process: ProcessRef) -> ProcessStop | None:
        with self._lock:
            return self._stops.pop((process.pid, process.start_time_ticks), None)


class EtwSource:
    """The end of this process; ``refusal`` says why there is no information, empty if there is."""

    _shared: EtwSource | None = None

    def __init__(self) -> None:
        self.ends = ProcessEnds()
        self.refusal = ""
        try:
            self._session = EtwSession(self.ends.take)
        except OSError as error:
            self.refusal = str(error)

    @classmethod
    def shared(cls) -> EtwSource:
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    @classmethod
    def close_shared(cls) -> None:
        """A session outlives its process: it is stopped at our end."""
        if cls._shared is not None and not cls._shared.refusal:
            cls._shared._session.close()
        cls._shared = None
