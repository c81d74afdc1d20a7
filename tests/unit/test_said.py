"""The last message on standard error: each runtime's, and what is none."""

from __future__ import annotations

import pytest

from perimortem.analysis.last_words import MESSAGE_MAX, TEXT_MAX, find_said, read_last_words
from perimortem.analysis.signal_safety import describe_reentry
from perimortem.model.stack import Frame, FrameTrust

GO = """goroutine 1 was here
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f1a0]

goroutine 1 [running]:
main.main()
\t/src/go-nil/main.go:7 +0x1d
exit status 2
"""
GO_DEADLOCK = """fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.wait(...)
\t/usr/lib/go/src/runtime/chan.go:442
main.main()
\t/src/main.go:12 +0x2f
"""
RUST = """thread 'worker-3' (4711) panicked at src/load.rs:12:34:
index out of bounds: the len is 0 but the index is 1
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
RUST_OLD = "thread 'main' panicked at 'no such file', src/main.rs:2:5\n"
NODE = """/srv/app.js:1
function f(x){ return x.y.z } f({})
                        ^

TypeError: Cannot read properties of undefined (reading 'z')
    at f (/srv/app.js:1:27)
    at Object.<anonymous> (/srv/app.js:1:31)

Node.js v20.5.1
"""
NODE_MEMORY = """<--- Last few GCs --->

[21298:0x6c3e000]      180 ms: Mark-Compact 40.1 (42.9) -> 39.2 (43.4) MB

FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
----- Native stack trace -----
"""
PYTHON = """Traceback (most recent call last):
  File "/srv/train.py", line 90, in <module>
    main()
  File "/srv/train.py", line 12, in main
    load(path)
FileNotFoundError: [Errno 2] No such file or directory: 'x'
"""
PYTHON_FATAL = """Fatal Python error: Segmentation fault

Current thread 0x00007f05a65f7b80 (most recent call first):
  File "/srv/x.py", line 519 in string_at
"""
CPP = """terminate called after throwing an instance of 'std::runtime_error'
  what():  close failed: /data/out.h5
"""
DOTNET = """Unhandled exception. System.InvalidOperationException: no rows
   at Store.Read() in /src/Store.cs:line 31
"""
ASAN = """=================================================================
==21891==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000011 at pc 0x55f6b3834
READ of size 1 at 0x602000000011 thread T0
    #0 0x7f6ad48b76a8 in strcpy (/lib/libasan.so.8+0xb76a8)
    #1 0x55f6b38341e3 in main /src/asan.c:2
"""
TSAN = """==================
WARNING: ThreadSanitizer: data race (pid=21906)
  Read of size 4 at 0x5567fe89e054 by thread T1:
    #0 f /src/ts.c:2 (ts+0x11d0)
"""
UBSAN = "ub.c:1:53: runtime error: signed integer overflow: 2147483647 + 1 cannot be represented\n"
JVM = """#
# A fatal error has been detected by the Java Runtime Environment:
#
#  SIGSEGV (0xb) at pc=0x00007f6dbccd2f94, pid=21931, tid=21933
#
# JRE version: OpenJDK Runtime Environment (17.0.15+6) (build 17.0.15+6)
# Problematic frame:
# V  [libjvm.so+0xed2f94]  Unsafe_PutLong+0x124
#
# An error report file with more information is saved as:
# /srv/hs_err_pid21931.log
#
"""
SAMPLES = {
    "go-panic": (
        GO,
        "runtime error: invalid memory address or nil pointer dereference",
        "/src/go-nil/main.go:7",
    ),
    "go-fatal-error": (GO_DEADLOCK, "all goroutines are asleep - deadlock!", "/src/main.go:12"),
    "rust-panic": (RUST, "index out of bounds: the len is 0 but the index is 1", "src/load.rs:12:34"),
    "node-error": (
        NODE,
        "TypeError: Cannot read properties of undefined (reading 'z')",
        "/srv/app.js:1:27",
    ),
    "node-fatal-error": (
        NODE_MEMORY,
        "Reached heap limit Allocation failed - JavaScript heap out of memory",
        None,
    ),
    "python-error": (
        PYTHON,
        "FileNotFoundError: [Errno 2] No such file or directory: 'x'",
        "/srv/train.py:12",
    ),
    "python-fatal-error": (PYTHON_FATAL, "Segmentation fault", "/srv/x.py:519"),
    "cpp-exception": (CPP, "std::runtime_error: close failed: /data/out.h5", None),
    "dotnet-exception": (DOTNET, "System.InvalidOperationException: no rows", "/src/Store.cs:31"),
    "sanitizer": (ASAN, "AddressSanitizer: heap-use-after-free", "/src/asan.c:2"),
    "jvm-fatal-error": (
        JVM,
        "SIGSEGV (0xb) in V [libjvm.so+0xed2f94] Unsafe_PutLong+0x124",
        None,
    ),
    "dynamic-linker": (
        "./c41: symbol lookup error: ./c41: undefined symbol: tensor_new_api\n",
        "./c41: undefined symbol: tensor_new_api",
        None,
    ),
    "assertion": (
        'server: cache.c:20: main: Assertion `c==77 && "the answer"\' failed.\n',
        'c==77 && "the answer", in main',
        "cache.c:20",
    ),
    "heap-check": (
        "free(): double free detected in tcache 2\n",
        "free(): double free detected in tcache 2",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_message_is_recognised_with_its_place(kind):
    text, said, place = SAMPLES[kind]
    found = find_said(f"starting\nready\n{text}")
    assert (str(found.kind), found.text, found.place) == (kind, said, place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (RUST_OLD, "no such file"),
        (TSAN, "ThreadSanitizer: data race"),
        (UBSAN, "UndefinedBehaviorSanitizer: signed integer overflow: 2147483647 + 1 cannot be "
                "represented"),
        ("app: error while loading shared libraries: libx.so.1: cannot open shared object file\n",
         "libx.so.1: cannot open shared object file"),
        ("/usr/include/c++/12/bits/stl_vector.h:1123: std::vector<int>::reference std::vector<int>::"
         "operator[](size_type) [with _Tp = int]: Assertion '__n < this->size()' failed.\n",
         "__n < this->size(), in std::vector<int>::reference std::vector<int>::operator[](size_type) "
         "[with _Tp = int]"),
        ("*** stack smashing detected ***: terminated\n", "*** stack smashing detected ***: terminated"),
    ],
)  # fmt: skip
def test_other_forms(text, said):
    assert find_said(text).text == said


@pytest.mark.parametrize(
    "text",
    [
        "panic: is what I write into my log\n", "fatal error: no such thing\n",
        "Error: see above\n", "Traceback (most recent call last):\n",
        "free beer for all\n", "thread 'x' did well\n", "WARNING: disk is full\n",
        "#0 main at x.c:1\n", "Assertion failed\n", "", "\0\0\xff",
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_none(text):
    assert find_said(text) is None


def test_the_last_message_counts():
    assert str(find_said(PYTHON + "went on\n" + GO).kind) == "go-panic"
    assert str(find_said(GO + PYTHON).kind) == "python-error"


def test_the_file_of_a_java_vm_is_named():
    assert find_said(JVM).file == "/srv/hs_err_pid21931.log"


def test_what_is_kept():
    noise = "".join(f"line {number}\n" for number in range(4000)).encode()
    words = read_last_words(noise, "test")
    assert words.said is None
    assert TEXT_MAX - 100 < len(words.text) <= TEXT_MAX
    assert words.text.startswith("line ")
    report = ASAN.encode() + b"    #2 0x1 in more /src/more.c:1\n" * 300
    kept = read_last_words(noise + report + b"Aborted\n", "test")
    assert "ERROR: AddressSanitizer" in kept.text
    assert len(kept.text) < MESSAGE_MAX
    assert read_last_words(b" \n\n", "test") is None


def test_control_characters_are_shown_escaped():
    assert "\x1b" not in read_last_words(b"\x1b[31mred\x1b[0m\n\xff\n", "test").text


def frames(*names):
    return [
        Frame(0x1000, 0x7FFE0000, FrameTrust.CFI, function=name, is_signal=name == "(signal)")
        for name in names
    ]


def test_the_heap_in_a_handler_that_interrupted_it():
    text = describe_reentry(
        frames("abort", "sysmalloc", "_int_malloc", "malloc", "on_alarm", "(signal)", "_int_free",
               "free", "main")
    )  # fmt: skip
    assert text.startswith(
        "malloc was called in the signal handler on_alarm, which had interrupted free: "
    )
    assert describe_reentry(frames("malloc", "on_alarm", "(signal)", "compute", "free")) == (
        "malloc was called in the signal handler on_alarm, which had interrupted free: the heap must "
        "not be used there (signal-safety(7))"
    )
    assert describe_reentry(frames("write", "on_alarm", "(signal)", "malloc", "main")) is None
    assert describe_reentry(frames("malloc", "on_alarm", "(signal)", "compute", "main")) is None
    assert describe_reentry(frames("malloc", "main")) is None
