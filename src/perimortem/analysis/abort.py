"""Why a program aborted itself: which function did it, and with what message. Pure.

glibc keeps its abort message in ``__abort_msg`` (struct abort_msg_s: an int size, then the text), a C++
exception in flight lies before its object (struct __cxa_exception of the Itanium ABI).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import takewhile

from perimortem.analysis.crash_context import CrashContext, base_name
from perimortem.analysis.heap_abort import describe_heap_abort
from perimortem.analysis.terminate import describe_terminate
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import ReasonKind
from perimortem.text import printable

_LEFT_NOEXCEPT = r"__gxx_personality_v0|__cxa_call_terminate"
"""On the stack of an abort: the unwinder met a function that no exception may leave."""
_RULES: tuple[tuple[re.Pattern[str], ReasonKind, str], ...] = tuple(
    (re.compile(pattern), kind, words)
    for pattern, kind, words in (
        (
            r"_*(GI_)?_*stack_chk_fail|__report_gsfailure",
            ReasonKind.STACK_SMASHING,
            "stack smashing: a function overran a buffer on its stack",
        ),
        (
            r"_*(GI_)?_*chk_fail|__fortify_fail",
            ReasonKind.BUFFER_OVERFLOW,
            "a library function was about to overrun a buffer (_FORTIFY_SOURCE)",
        ),
        (
            r"malloc_printerr|malloc_consolidate|unlink_chunk|sysmalloc_fail|RtlReportCriticalFailure",
            ReasonKind.HEAP_CORRUPTION,
            "a check of the heap failed",
        ),
        (
            r"_*(GI_)?_*assert(_perror)?_fail(_base)?|_*assert|_wassert|g_assertion_message.*",
            ReasonKind.ASSERTION,
            "an assertion failed",
        ),
        (
            r"std::(__glibcxx_assert_fail|__replacement_assert|__1::__libcpp_verbose_abort).*"
            r"|__libcpp_verbose_abort",
            ReasonKind.ASSERTION,
            "an assertion of the C++ library failed",
        ),
        (
            r"__cxa_pure_virtual|_purecall",
            ReasonKind.ABORT,
            "a pure virtual function was called: the object is under construction or already destroyed",
        ),
        (
            r"(std::|core::panicking::|std::panicking::).*panic.*|rust_panic.*|rust_begin_unwind|"
            r"core::(result::unwrap_failed|option::(unwrap|expect)_failed).*",
            ReasonKind.PANIC,
            "a Rust panic",
        ),
        (
            r"runtime\.(fatalpanic|throw|fatalthrow|dieFromSignal|crash).*",
            ReasonKind.PANIC,
            "the Go runtime aborted",
        ),
        (r"_?Py_FatalError.*", ReasonKind.ABORT, "Python: a fatal error"),
        (
            r"V8_Fatal|v8::base::OS::Abort|node::(OnFatalError|Abort|Assert).*",
            ReasonKind.ABORT,
            "V8 or Node.js aborted",
        ),
        (
            r"QMessageLogger::fatal.*|qFatal.*|qt_assert.*",
            ReasonKind.ABORT,
            "Qt: qFatal or Q_ASSERT",
        ),
        (
            r"_g_log_abort|g_log(v|_structured.*|_default_handler)?",
            ReasonKind.ABORT,
            "GLib: g_error",
        ),
        (
            r"(google|absl).*LogMessage(Fatal)?::.*|.*LogMessageFatal.*",
            ReasonKind.ABORT,
            "a CHECK or LOG(FATAL) ended it",
        ),
        (
            r"(std::|__cxxabiv1::_*)terminate.*|_ZSt9terminatev|_ZN10__cxxabiv111__terminate.*",
            ReasonKind.UNCAUGHT_EXCEPTION,
            "std::terminate was called",
        ),
        (
            _LEFT_NOEXCEPT,
            ReasonKind.UNCAUGHT_EXCEPTION,
            "std::terminate was called while an exception was thrown",
        ),
    )
)
_ABORTING = re.compile(r"_*(GI_)?_*(abort|raise|gsignal|pthread_kill.*)")
_ABORT = re.compile(r"_*(GI_)?_*abort")
_CODE, _SI_TKILL = 0xFFFFFFFF, 0xFFFFFFFA
_RETHROWING = re.compile(r"__cxa_rethrow")
_THROWING = re.compile(
    r"__cxa_(throw|rethrow)|_CxxThrowException|_Unwind_RaiseException|std::rethrow_exception"
)
_GNU_EXCEPTION_CLASSES = (b"GNUCC++\0"[::-1], b"GNUCC++\1"[::-1])
_WITH_MESSAGE = ("St13runtime_error", "St11logic_error")
"""Their message follows the pointer to their vtable; for other types its place is unknown."""
_BASES_MAX = 16
_MANGLED = re.compile(r"\*?[A-Za-z0-9_$.]+")
_TYPE_BEFORE, _PRIMARY_BEFORE, _HANDLERS_BEFORE, _OBJECT_BEHIND = 80, 80, 40, 32
"""Offset in _Unwind_Exception: the exception's type_info lies before, its object behind it."""
_SEARCHED_BYTES = 16 << 10
_MESSAGE_MAX = 2048
_ENDING_FRAMES = 16
_ABORT_HEAD = struct.Struct("<i")


@dataclass(frozen=True)
class GivingUp:
    """Why it ended itself."""

    kind: ReasonKind
    text: str
    message: str | None
    thrown_type: str | None
    evidence: tuple[Evidence, ...]


def has_abort_reason(context: CrashContext) -> bool:
    """Whether it is in a call that ends the program; a signal from outside can arrive anywhere."""
    frames = takewhile(lambda frame: not frame.is_signal, context.stack.frames[:_ENDING_FRAMES])
    names = [_plain(frame.function) for frame in frames if frame.function]
    return any(
        _ABORTING.fullmatch(name) or any(rule.fullmatch(name) for rule, _, _ in _RULES)
        for name in names
    )


def derive_abort_reason(context: CrashContext) -> GivingUp:
    """From the functions on the stack of the thread that did it."""
    names = context.names()
    kind, text = ReasonKind.ABORT, _describe_end(context)
    evidence = []
    for pattern, found, words in _RULES:
        name = next((name for name in names if pattern.fullmatch(_plain(name))), None)
        if name is not None:
            kind, text = found, words
            evidence.append(Evidence(f"{name} is on the stack", "stack", Confidence.OBSERVED))
            break
    message = read_abort_message(context)
    if message is not None:
        evidence.append(Evidence(f"abort message: {message}", "__abort_msg", Confidence.OBSERVED))
        kind, text = _refine(kind, text, message)
    if kind is ReasonKind.HEAP_CORRUPTION and message is not None:
        heap = describe_heap_abort(context, message)
        text = heap.text
        evidence += [heap.evidence] if heap.evidence is not None else []
    thrown, what = None, None
    if kind is ReasonKind.UNCAUGHT_EXCEPTION and any(_THROWING.match(name) for name in names):
        thrown, what = find_thrown(context)
        text = "uncaught C++ exception; its type is not in the dump"
        if thrown is None and any(_RETHROWING.match(name) for name in names):
            text = "a C++ exception was rethrown without a handler, or without an active exception"
    elif kind is ReasonKind.UNCAUGHT_EXCEPTION:
        text = describe_terminate(context.stack.frames)
    if thrown is not None:
        text = f"uncaught C++ exception {thrown}" + (f": {what}" if what else "")
        if any(re.fullmatch(_LEFT_NOEXCEPT, name) for name in names):
            text += "; it left a function that is noexcept, as destructors are"
        message = message or what
        evidence.append(
            Evidence(f"an exception of type {thrown} is in flight", "memory", Confidence.DERIVED)
        )
    return GivingUp(kind, text, message, thrown, tuple(evidence))


def _describe_end(context: CrashContext) -> str:
    names = [_plain(frame.function or "") for frame in context.stack.frames]
    if any(_ABORT.fullmatch(name) for name in names):
        return "it called abort()"
    raising = [index for index, name in enumerate(names) if _ABORTING.fullmatch(name)]
    if raising and any(names[raising[-1] + 1 : raising[-1] + 2]):  # its caller is known
        return "it raised SIGABRT by itself"
    exception = context.snapshot.exception
    if not raising and exception is not None and exception.flags & _CODE == _SI_TKILL:
        return "it called abort(), or SIGABRT was sent to this thread; its functions are not known"
    return "it called abort(), or raised SIGABRT by itself"


def _plain(name: str) -> str:
    """Without parameters, and without Rust's hash suffix."""
    return re.sub(r"::h[0-9a-f]{16}$", "", name.split("(", 1)[0] if "(" in name[1:] else name)


def _refine(kind: ReasonKind, text: str, message: str) -> tuple[ReasonKind, str]:
    """The message may say more than the names of a stripped library."""
    if "stack smashing detected" in message:
        return ReasonKind.STACK_SMASHING, "stack smashing: a function overran a buffer on its stack"
    if "Assertion `" in message or "Assertion '" in message:
        return ReasonKind.ASSERTION, f"an assertion failed: {message}"
    if "buffer overflow detected" in message:
        return ReasonKind.BUFFER_OVERFLOW, "a library function was about to overrun a buffer"
    if kind in (ReasonKind.ABORT, ReasonKind.HEAP_CORRUPTION) and _is_heap(message):
        return ReasonKind.HEAP_CORRUPTION, f"a check of the heap failed: {message}"
    return kind, f"{text}: {message}"


def _is_heap(message: str) -> bool:
    return any(
        word in message
        for word in ("free()", "malloc()", "realloc()", "double free", "corrupted", "munmap_chunk")
    )


def read_abort_message(context: CrashContext) -> str | None:
    """The message that glibc printed before it called abort."""
    for module in context.snapshot.modules:
        is_libc = base_name(module.path).startswith(("libc.so", "libc-"))
        if (
            not is_libc and module is not context.snapshot.modules[0]
        ):  # static: in the program itself
            continue
        place = context.find_symbol(module, "__abort_msg")
        if place is None:
            continue
        address = context.read_word(place) or 0
        head = context.read(address, 4) if address else b""
        if len(head) < 4:
            continue
        (size,) = _ABORT_HEAD.unpack(head)
        text = context.read(address + 4, min(max(size, 0), _MESSAGE_MAX)).split(b"\0", 1)[0]
        if text:
            return printable(text.decode("utf-8", "backslashreplace").strip())
    return None


def find_thrown(context: CrashContext) -> tuple[str | None, str | None]:
    """(type, what() as far as it can be read) of the uncaught C++ exception.

    While it searches for a handler, the unwinder has a pointer to the header on its stack; the header is
    recognized by the name that every compiler puts there. One that was caught long ago may still be in
    memory, but no longer has a handler; for an uncaught one, std::terminate counts as its handler.
    """
    throwing = [f for f in context.stack.frames if f.function and _THROWING.match(f.function)]
    if not throwing:
        return None, None
    start = context.stack.frames[0].stack_pointer
    data = context.read(start, min(throwing[-1].stack_pointer + 256 - start, _SEARCHED_BYTES))
    words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
    for address in dict.fromkeys([*context.registers.general.values(), *words]):
        is_header = address % 8 == 0 and address >= 1 << 16
        if not is_header or context.read(address, 8) not in _GNU_EXCEPTION_CLASSES:
            continue
        (handlers,) = struct.unpack("<i", context.read(address - _HANDLERS_BEFORE, 4) or bytes(4))
        primary = _find_primary(context, address)
        if primary is None or handlers <= 0:
            continue
        type_info = context.read_word(primary - _TYPE_BEFORE)
        name = _read_type_name(context, type_info)
        if name is None:
            continue
        what_at = context.read_word(primary + _OBJECT_BEHIND + 8)
        has_what = what_at and _descends(context, type_info, _WITH_MESSAGE)
        what = _read_message(context, what_at) if what_at and has_what else None
        return _name_type(context, name), what
    return None, None


def _find_primary(context: CrashContext, address: int) -> int | None:
    """The header that has the type: std::rethrow_exception makes a second one, which points to it."""
    if context.read(address, 8) == _GNU_EXCEPTION_CLASSES[0]:
        return address
    thrown = context.read_word(address - _PRIMARY_BEFORE)
    primary = thrown - _OBJECT_BEHIND if thrown else 0
    return primary if context.read(primary, 8) == _GNU_EXCEPTION_CLASSES[0] else None


def _read_type_name(context: CrashContext, type_info: int | None) -> str | None:
    """The mangled name of a std::type_info."""
    name_at = context.read_word(type_info + 8) if type_info else None
    name = _read_text(context, name_at) if name_at else None
    return name if name is not None and _MANGLED.fullmatch(name) else None


def _descends(
    context: CrashContext, type_info: int | None, wanted: tuple[str, ...], depth: int = 0
) -> bool:
    """By the first base of each class: __si_class_type_info, or __vmi_class_type_info with it at 0."""
    name = _read_type_name(context, type_info)
    if type_info is None or name is None or depth > _BASES_MAX:
        return False
    if name.lstrip("*") in wanted:
        return True
    word = context.read_word(type_info + 16)
    if word is None:
        return False
    count = word >> 32
    if 0 < count <= _BASES_MAX and word & 0xFFFFFFFF < 4:  # flags and number of bases
        base, offset = context.read_word(type_info + 24), context.read_word(type_info + 32)
        return (
            offset is not None and offset >> 8 == 0 and _descends(context, base, wanted, depth + 1)
        )
    return _descends(context, word, wanted, depth + 1)


def _name_type(context: CrashContext, mangled: str) -> str:
    name = context.demangle("_ZTS" + mangled.lstrip("*"))
    return name.removeprefix("typeinfo name for ") if not name.startswith("_ZTS") else mangled


def _read_message(context: CrashContext, address: int) -> str | None:
    """For text that may be anything, and long."""
    raw = context.read(address, _MESSAGE_MAX).split(b"\0", 1)[0]
    return printable(raw.decode("utf-8", "backslashreplace")) or None


def _read_text(context: CrashContext, address: int) -> str | None:
    raw = context.read(address, 256)
    text, _, rest = raw.partition(b"\0")
    if not text or (not rest and len(raw) == 256):
        return None
    try:
        found = text.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return found if found.isprintable() else None
