"""A real-time ETW session on ends of processes: start, consume, stop.

One fixed name: a session that an earlier monitor left behind is stopped first, one that another monitor
uses is left to it. Each refusal has a description. Under Wine StartTrace "succeeds" and OpenTrace fails:
so that call decides.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import uuid
from collections.abc import Callable
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.exits.process_stop import KEYWORD_PROCESS, PROCESS_STOP, PROVIDER
from perimortem.winapi import kernel32
from perimortem.winapi.claim import NameTaken, claim_name
from perimortem.winapi.library import Library, describe_error, last_error

SESSION_NAME = "perimortem-process-ends"
IS_TAKEN = "another perimortem is already listening"
_NAME_BYTES = 2 * 128
# evntrace.h
_EVENT_TRACE_REAL_TIME_MODE = 0x100
_PROCESS_TRACE_MODE_REAL_TIME = 0x100
_PROCESS_TRACE_MODE_EVENT_RECORD = 0x10000000
_WNODE_FLAG_TRACED_GUID = 0x20000
_CONTROL_STOP = 1
_ENABLE_PROVIDER = 1
_LEVEL_INFORMATION = 4
_INVALID_TRACE = 0xFFFFFFFFFFFFFFFF
_REASONS = {
    5: "the rights of an administrator, or of the group Performance Log Users, are missing",
    183: "a session of that name already exists and could not be stopped",
    1450: "all of the machine's sessions are in use (NO_SYSTEM_RESOURCES)",
}


class _Properties(ctypes.Structure):
    """EVENT_TRACE_PROPERTIES, with room for the name behind it."""

    _fields_ = (
        ("WnodeBufferSize", wintypes.ULONG),
        ("WnodeProviderId", wintypes.ULONG),
        ("WnodeHistoricalContext", ctypes.c_ulonglong),
        ("WnodeTimeStamp", ctypes.c_longlong),
        ("WnodeGuid", ctypes.c_ubyte * 16),
        ("WnodeClientContext", wintypes.ULONG),
        ("WnodeFlags", wintypes.ULONG),
        ("BufferSize", wintypes.ULONG),
        ("MinimumBuffers", wintypes.ULONG),
        ("MaximumBuffers", wintypes.ULONG),
        ("MaximumFileSize", wintypes.ULONG),
        ("LogFileMode", wintypes.ULONG),
        ("FlushTimer", wintypes.ULONG),
        ("EnableFlags", wintypes.ULONG),
        ("AgeLimit", wintypes.LONG),
        ("NumberOfBuffers", wintypes.ULONG),
        ("FreeBuffers", wintypes.ULONG),
        ("EventsLost", wintypes.ULONG),
        ("BuffersWritten", wintypes.ULONG),
        ("LogBuffersLost", wintypes.ULONG),
        ("RealTimeBuffersLost", wintypes.ULONG),
        ("LoggerThreadId", wintypes.HANDLE),
        ("LogFileNameOffset", wintypes.ULONG),
        ("LoggerNameOffset", wintypes.ULONG),
        ("Name", ctypes.c_char * _NAME_BYTES),
    )


class EventRecord(ctypes.Structure):
    """EVENT_RECORD, with its header and descriptor spread out."""

    _fields_ = (
        ("Size", wintypes.USHORT),
        ("HeaderType", wintypes.USHORT),
        ("Flags", wintypes.USHORT),
        ("EventProperty", wintypes.USHORT),
        ("ThreadId", wintypes.ULONG),
        ("ProcessId", wintypes.ULONG),
        ("TimeStamp", ctypes.c_longlong),
        ("ProviderId", ctypes.c_ubyte * 16),
        ("Id", wintypes.USHORT),
        ("Version", ctypes.c_ubyte),
        ("Channel", ctypes.c_ubyte),
        ("Level", ctypes.c_ubyte),
        ("Opcode", ctypes.c_ubyte),
        ("Task", wintypes.USHORT),
        ("Keyword", ctypes.c_ulonglong),
        ("ProcessorTime", ctypes.c_ulonglong),
        ("ActivityId", ctypes.c_ubyte * 16),
        ("BufferContext", wintypes.ULONG),
        ("ExtendedDataCount", wintypes.USHORT),
        ("UserDataLength", wintypes.USHORT),
        ("ExtendedData", ctypes.c_void_p),
        ("UserData", ctypes.c_void_p),
        ("UserContext", ctypes.c_void_p),
    )


_EVENT_RECORD_CALLBACK = ctypes.WINFUNCTYPE(None, ctypes.POINTER(EventRecord))


class _LogFile(ctypes.Structure):
    """EVENT_TRACE_LOGFILEW; what only log files have is left opaque."""

    _fields_ = (
        ("LogFileName", wintypes.LPWSTR),
        ("LoggerName", wintypes.LPWSTR),
        ("CurrentTime", ctypes.c_longlong),
        ("BuffersRead", wintypes.ULONG),
        ("ProcessTraceMode", wintypes.ULONG),
        ("CurrentEvent", ctypes.c_ubyte * 88),
        ("LogfileHeader", ctypes.c_ubyte * 280),
        ("BufferCallback", ctypes.c_void_p),
        ("BufferSize", wintypes.ULONG),
        ("Filled", wintypes.ULONG),
        ("EventsLost", wintypes.ULONG),
        ("EventRecordCallback", _EVENT_RECORD_CALLBACK),
        ("IsKernelTrace", wintypes.ULONG),
        ("Context", ctypes.c_void_p),
    )


_advapi32 = Library("advapi32")
_trace = ctypes.c_ulonglong
_StartTraceW = _advapi32.declare(
    "StartTraceW",
    wintypes.ULONG,
    ctypes.POINTER(_trace),
    wintypes.LPCWSTR,
    ctypes.POINTER(_Properties),
)
_ControlTraceW = _advapi32.declare(
    "ControlTraceW",
    wintypes.ULONG,
    _trace,
    wintypes.LPCWSTR,
    ctypes.POINTER(_Properties),
    wintypes.ULONG,
)
_EnableTraceEx2 = _advapi32.declare(
    "EnableTraceEx2",
    wintypes.ULONG,
    _trace,
    ctypes.c_char_p,
    wintypes.ULONG,
    ctypes.c_ubyte,
    ctypes.c_ulonglong,
    ctypes.c_ulonglong,
    wintypes.ULONG,
    ctypes.c_void_p,
)
_OpenTraceW = _advapi32.declare("OpenTraceW", _trace, ctypes.POINTER(_LogFile))
_ProcessTrace = _advapi32.declare(
    "ProcessTrace",
    wintypes.ULONG,
    ctypes.POINTER(_trace),
    wintypes.ULONG,
    ctypes.c_void_p,
    ctypes.c_void_p,
)
_CloseTrace = _advapi32.declare("CloseTrace", wintypes.ULONG, _trace)

Take = Callable[[int, bytes], None]
"""take(version, payload): called in the consumer's thread for each ProcessStop."""


class EtwSession:
    """Runs until it is closed."""

    def __init__(self, take: Take) -> None:
        """Raises OSError with the reason."""
        self._take = take
        self._callback = _EVENT_RECORD_CALLBACK(self._on_event)
        try:
            self._claim = claim_name(SESSION_NAME)
        except NameTaken:
            raise OSError(IS_TAKEN) from None
        try:
            _start_session()
            self._opened = _open_session(self._callback)
        except OSError:
            _stop_session()
            kernel32.CloseHandle(self._claim)
            raise
        self._thread = threading.Thread(target=self._consume, name="perimortem-etw", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the session: its consumer ends by itself."""
        _stop_session()
        _CloseTrace(self._opened)
        self._thread.join(2.0)
        kernel32.CloseHandle(self._claim)

    def _consume(self) -> None:
        _ProcessTrace(ctypes.byref(self._opened), 1, None, None)

    def _on_event(self, record: ctypes._Pointer[EventRecord]) -> None:
        event = record.contents
        if event.Id == PROCESS_STOP and event.UserData:
            self._take(event.Version, ctypes.string_at(event.UserData, event.UserDataLength))


def try_session() -> str:
    """Why there can be no session; empty if one could be started and stopped."""
    try:
        EtwSession(lambda _version, _payload: None).close()
    except OSError as error:
        return str(error)
    return ""


def _properties() -> ctypes._Pointer[_Properties]:
    properties = _Properties()
    properties.WnodeBufferSize = ctypes.sizeof(properties)
    properties.WnodeClientContext = 1  # the clock of QueryPerformanceCounter
    properties.WnodeFlags = _WNODE_FLAG_TRACED_GUID
    properties.LogFileMode = _EVENT_TRACE_REAL_TIME_MODE
    properties.FlushTimer = 1  # seconds
    properties.LoggerNameOffset = _Properties.Name.offset
    return ctypes.pointer(properties)


def _start_session() -> None:
    _stop_session()
    session = _trace()
    _check(_StartTraceW(ctypes.byref(session), SESSION_NAME, _properties()))
    provider = uuid.UUID(PROVIDER).bytes_le
    _check(
        _EnableTraceEx2(
            session, provider, _ENABLE_PROVIDER, _LEVEL_INFORMATION, KEYWORD_PROCESS, 0, 0, None
        )
    )


def _open_session(callback: ctypes._FuncPointer) -> ctypes.c_ulonglong:
    log_file = _LogFile()
    log_file.LoggerName = SESSION_NAME
    log_file.ProcessTraceMode = _PROCESS_TRACE_MODE_REAL_TIME | _PROCESS_TRACE_MODE_EVENT_RECORD
    log_file.EventRecordCallback = callback
    opened = _OpenTraceW(ctypes.byref(log_file))
    if opened == _INVALID_TRACE:
        _check(last_error() or kernel32.ERROR_ACCESS_DENIED)
    return _trace(opened)


def _stop_session() -> None:
    _ControlTraceW(0, SESSION_NAME, _properties(), _CONTROL_STOP)


def _check(error: int) -> None:
    if error:
        raise OSError(_REASONS.get(error) or describe_error(error))
