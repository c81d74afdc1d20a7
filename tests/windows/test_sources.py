"""Sources of an end besides the handle, and events of the console. ETW, the event log and the closing of
a console do not work under Wine: only the code around them is tested."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows_records import ERROR_XML, REPORT, build_stop

from perimortem.exits.sources import open_exit_watch
from perimortem.exits.windows.etw import EtwSource, ProcessEnds
from perimortem.exits.windows.etw_session import (
    SESSION_NAME,
    EventRecord,
    _LogFile,
    _Properties,
    try_session,
)
from perimortem.exits.windows.event_log import try_event_log
from perimortem.exits.windows.gone import GoneExitWatch
from perimortem.exits.windows.wer_reports import collect_words
from perimortem.model.exits import ExitKind, ExitSource
from perimortem.model.process import ProcessRef
from perimortem.monitor.platform.windows.console import Console
from perimortem.monitor.platform.windows.job import Job
from perimortem.proc import find_process, list_children, read_variables
from perimortem.system import open_selector
from perimortem.winapi import kernel32
from perimortem.winapi.system_processes import (
    list_processes_now,
    list_threads,
    parse_processes,
)
from perimortem.winapi.version import read_wine_version

IS_WINE = read_wine_version() is not None


def test_structures_have_the_sizes_of_the_sdk():
    import ctypes

    assert ctypes.sizeof(EventRecord) == 112
    assert ctypes.sizeof(_LogFile) == 448
    assert _Properties.Name.offset == 120
    assert ctypes.sizeof(kernel32.MEMORY_BASIC_INFORMATION) == 48


def test_etw_is_refused_with_a_reason():
    if not IS_WINE:
        pytest.skip("Windows may well permit it")
    assert "rights of an administrator" in try_session()


def test_a_session_that_another_monitor_uses_is_left_to_it():
    mutex = kernel32.CreateMutexW(None, False, f"Global\\{SESSION_NAME}")
    assert try_session() == "another perimortem is already listening"
    kernel32.CloseHandle(mutex)


def test_the_event_log_is_refused_with_a_reason():
    if not IS_WINE:
        pytest.skip("Windows has one")
    assert try_event_log() != ""


def _source(refusal: str = "") -> EtwSource:
    source = EtwSource.__new__(EtwSource)
    source.ends, source.refusal = ProcessEnds(), refusal
    return source


def test_an_end_reported_by_etw_is_found_by_pid_and_creation_time():
    source = _source()
    source.ends.take(2, build_stop(2, pid=4711, created=99, code=0xC0000409))
    source.ends.take(2, build_stop(2, pid=4711, created=100, code=1))
    source.ends.take(2, b"cut")
    watch = GoneExitWatch(ProcessRef(4711, 99), source)
    end = watch.collect_exit(0)
    watch.close()
    assert (end.kind, end.code, end.source) == (ExitKind.EXCEPTION, 0xC0000409, ExitSource.ETW)


def test_without_etw_the_status_is_unknown_and_why():
    watch = GoneExitWatch(ProcessRef(4711, 99), _source("it is refused"))
    assert watch.collect_exit(0).kind is ExitKind.UNKNOWN
    assert watch.facts[0].values["why"] == "it is refused"
    watch.close()


def test_the_words_of_windows_become_evidence():
    words = collect_words(0x1A2C, time.time(), lambda _ms: [ERROR_XML], lambda _since: [REPORT])
    assert words.fault.module == "gpu_rt.dll"
    assert words.fault.module_offset == 0x41D0A
    assert words.fast_fail_code == 7
    other = collect_words(1, time.time(), lambda _ms: [ERROR_XML], lambda _since: [REPORT])
    assert other.fault is None


def test_ctrl_c_is_noted_and_ends_nothing():
    console = Console()
    try:
        assert console.take(kernel32.CTRL_C_EVENT) == 1
        assert kernel32.WaitForSingleObject(console.waitable(), 0) == 0
        (event,) = console.receive()
        assert (event.name, event.is_final) == ("Ctrl-C", False)
        assert kernel32.WaitForSingleObject(console.waitable(), 0) != 0
    finally:
        console.close()


def test_a_closed_console_waits_until_the_incident_is_kept():
    console = Console()
    handler = threading.Thread(target=console.take, args=(kernel32.CTRL_CLOSE_EVENT,))
    handler.start()
    while not list(console.receive()):
        time.sleep(0.001)
    assert handler.is_alive(), "Windows would end us as soon as it returns"
    console.close()
    handler.join(5)
    assert not handler.is_alive()


def test_the_selector_waits_for_more_than_64_handles():
    selector = open_selector()
    events = [kernel32.CreateEventW(None, True, False, None) for _ in range(200)]
    called = []
    for index, event in enumerate(events):
        selector.register(event, lambda _now_ns, i=index: called.append(i))
    assert selector.wait(0) == []
    for index in (3, 150, 199):
        kernel32.SetEvent(events[index])
    while len(called) < 3:
        for call in selector.wait(5):
            call(0)
        for index in called:
            kernel32.ResetEvent(events[index])
    assert sorted(set(called)) == [3, 150, 199]
    for event in events:
        selector.unregister(event)
        kernel32.CloseHandle(event)
    assert selector.wait(0) == []
    selector.close()


def test_a_handle_that_stays_ready_is_handed_out_again():
    selector = open_selector()
    event = kernel32.CreateEventW(None, True, True, None)
    selector.register(event, lambda _now_ns: None)
    assert len(selector.wait(5)) == 1
    assert len(selector.wait(5)) == 1
    selector.unregister(event)
    assert [call for call in selector.wait(0) if call(0)] == []
    selector.close()
    kernel32.CloseHandle(event)


def test_an_unrelated_process_is_held_and_its_exit_code_is_exact(start):
    program = start("waits")
    process = find_process(program.pid)
    watch = open_exit_watch(process, is_child=False)
    assert watch.collect_exit(0) is None
    watch.send_signal(15)
    program.popen.wait()
    end = watch.collect_exit(0)
    watch.close()
    assert (end.kind, end.code) == (ExitKind.EXITED, 124)


def test_children_and_labels(programs):
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "RANK": "3"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline().strip() == "up"
    assert (os.getpid(), child.pid) in list_children([os.getpid()])
    assert read_variables(child.pid, ("RANK", "LOCAL_RANK")) == {"RANK": "3"}
    child.communicate()


def test_the_list_of_processes_knows_us():
    entry = list_processes_now()[os.getpid()]
    assert entry.parent_pid == os.getppid()
    assert entry.name.lower() == "python.exe"
    assert entry.create_time == find_process(os.getpid()).start_time_ticks
    assert threading.get_native_id() in list_threads(os.getpid())
    assert entry.working_set_bytes > 1 << 20


def test_a_process_entry_by_its_documented_offsets():
    name = "ab.exe".encode("utf-16-le")
    at = 4096  # where the answer is said to have stood
    raw = bytearray(0x100 + 2 * 0x50) + name
    struct.pack_into("<II", raw, 0, 0, 2)
    struct.pack_into("<QQQ", raw, 0x20, 11, 22, 33)
    struct.pack_into("<HHxxxxQ", raw, 0x38, len(name), len(name), at + 0x1A0)
    struct.pack_into("<QQI", raw, 0x50, 4711, 17, 9)
    struct.pack_into("<Q", raw, 0x90, 8192)
    struct.pack_into("<QQQ", raw, 0xD0, 1, 2, 3)
    for index in range(2):
        struct.pack_into("<QQ", raw, 0x100 + 0x50 * index + 0x28, 4711, 100 + index)
        struct.pack_into("<III", raw, 0x100 + 0x50 * index + 0x40, 7, 5, 5)
    (entry,) = parse_processes(bytes(raw), at)
    assert (entry.pid, entry.parent_pid, entry.name) == (4711, 17, "ab.exe")
    assert (entry.create_time, entry.user_time, entry.kernel_time) == (11, 22, 33)
    assert (entry.handle_count, entry.working_set_bytes, entry.io_operations) == (9, 8192, 6)
    assert [(t.tid, t.context_switches, t.is_suspended) for t in entry.threads] == [
        (100, 7, True),
        (101, 7, True),
    ]


@given(st.binary(max_size=1200))
def test_noise_is_no_process_list(raw):
    parse_processes(raw, 0)


def test_a_job_knows_its_processes(start):
    job = Job()
    program = start("waits")
    assert job.assign(int(program.popen._handle))
    assert job.list_pids() == [program.pid]
    job.close()
    assert program.popen.poll() is None, "nothing ends with it"
