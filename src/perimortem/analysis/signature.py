"""A stable signature of a crash, like those of crash-stats: equal for equal causes. Pure.

Frames that only end a process or allocate memory are skipped; frames that say little by themselves are
kept and the next one is added. Names lose what changes between builds: parameters, template
arguments, numbers of lambdas and clones, hashes.
"""

from __future__ import annotations

import re

from perimortem.analysis.crash_context import base_name
from perimortem.model.reason import Reason, ReasonKind, Signature
from perimortem.model.stack import Frame, FrameTrust, Language, ThreadStack

_FRAMES_MAX, _FRAMES_LOOKED_AT = 4, 1024
_SKIPPED = re.compile(
    r"_*(GI_)?_*(raise|gsignal|abort|kill|pthread_kill.*|tgkill|libc_fatal|libc_message.*|"
    r"stack_chk_fail.*|chk_fail|fortify_fail.*|assert.*fail.*|assert|restore_rt|"
    r"libc_start.*|cxa_(throw|rethrow|pure_virtual|bad_cast)|gxx_personality_v0|"
    r"Unwind_.*|pthread_kill_implementation)"
    r"|malloc_printerr|malloc_consolidate|_int_(malloc|free|realloc).*|sysmalloc|unlink_chunk.*|"
    r"tcache_.*|_*(libc_)?(malloc|free|calloc|realloc|memalign)|cfree|operator (new|delete).*|"
    r"je_.*|tc_.*|mi_.*|"
    r"std::terminate.*|__cxxabiv1::.*|__gnu_cxx::__verbose_terminate_handler.*|"
    r"std::__throw_.*|std::__glibcxx_assert_fail.*|"
    r"rust_(begin_unwind|panic.*)|__rust.*|(std|core)::panicking.*|std::sys::.*|std::process::abort.*|"
    r"core::(result|option)::.*(unwrap|expect).*|std::rt::.*|"
    r"runtime\.(fatalpanic|throw|gopanic|raise.*|sigpanic|panic.*|dieFromSignal|crash|goPanic.*)|"
    r"RaiseException|RtlRaiseException|KiRaise.*|RtlReport.*|_CxxThrowException|_invoke_watson|"
    r"UnhandledExceptionFilter|_?_?report_gsfailure|common_assert_to_.*|_wassert|"
    r"Py_FatalError.*|_Py_FatalError.*|fatal_error.*|faulthandler_.*"
)
_ENDS = re.compile(
    r"_*(GI_)?_*(raise|gsignal|abort|cxa_throw|cxa_rethrow|assert_fail|stack_chk_fail|chk_fail)"
    r"|std::terminate.*|malloc_printerr|rust_panic.*|core::panicking::.*"
)
_GIVING_UP_MAX = 16
_UNSPECIFIC = re.compile(
    r"_*(GI_)?_*(mem(cpy|move|set|cmp|chr)|str(len|n?cpy|n?cat|n?cmp|chr|rchr|str|dup)|"
    r"v?f?s?n?printf.*|pthread_(mutex|rwlock|cond).*|wcs.*|qsort.*|IO_.*|vfprintf.*)(_.*)?"
    r"|std::.*|core::.*|alloc::.*|boost::.*|__gnu_cxx::.*|Q(String|List|Vector|Hash|Map|Array).*|"
    r"_PyEval_EvalFrameDefault.*|PyObject_.*|_?PyObject.*|_?Py(Vectorcall|Function|Method)_.*"
)
_SYSTEM_MODULES = re.compile(
    r"(ld-linux|ld-|libc|libpthread|libm|libdl|librt|libgcc_s|libstdc\+\+|libc\+\+(abi)?|linux-gate)"
    r"[-.].*|ntdll\.dll|kernel32\.dll|kernelbase\.dll|ucrtbase.*\.dll|msvcrt\.dll|vcruntime.*\.dll|"
    r"msvcp.*\.dll",
    re.IGNORECASE,
)
_LIBRARY = re.compile(r"(std|__gnu_cxx|core|alloc)::")
"""Code of a standard library, which templates put into the program: its caller is to blame."""
_OF_BAD_PC = (ReasonKind.JUMP_TO_NOWHERE, ReasonKind.NOT_EXECUTABLE)
_HASH = re.compile(r"::h[0-9a-f]{16}\b")
_CLONE = re.compile(r"\.(constprop|isra|part|cold|lto_priv|llvm|clone)\b.*$")
_LAMBDA = re.compile(
    r"\{lambda[^{}]*\}(#\d+)?|<lambda[^>]*>|\$_\d+|\{\{closure\}\}|\{closure#\d+\}"
)
_NUMBERS = re.compile(r"#\d+")


def derive_signature(stack: ThreadStack, reason: Reason | None) -> Signature:
    """``stack``: of the crashed thread, with names."""
    parts: list[str] = []
    blamed: int | None = None
    first_named: int | None = None
    frames = _without_bad_pc(stack.frames, reason)
    frames = frames[_count_giving_up(frames) :]
    for index, frame in frames:
        if frame.is_signal:
            continue
        name = normalise(frame)
        if _SKIPPED.fullmatch(name):
            continue
        if blamed is None and not _is_of_system(frame) and not _LIBRARY.match(name):
            blamed = index
        if first_named is None:
            first_named = index
        parts.append(name)
        if len(parts) >= _FRAMES_MAX or not (_UNSPECIFIC.fullmatch(name) or _is_of_system(frame)):
            break
    if blamed is None:
        own = [(i, f) for i, f in frames if not f.is_signal and not _is_of_system(f)]
        blamed = next((i for i, f in own if not _LIBRARY.match(normalise(f))), None)
        if blamed is None:
            blamed = own[0][0] if own else first_named
    head = [str(reason.kind)] if reason is not None and reason.kind in _IN_SIGNATURE else []
    text = " | ".join([*head, *parts]) or "no frames"
    found = stack.frames[blamed] if blamed is not None else None
    return Signature(
        text=text,
        blamed_frame=blamed,
        blamed_function=found.function if found is not None else None,
        blamed_module=_module_of(found),
    )


_IN_SIGNATURE = frozenset(
    {
        ReasonKind.STACK_OVERFLOW,
        ReasonKind.HEAP_CORRUPTION,
        ReasonKind.STACK_SMASHING,
        ReasonKind.UNCAUGHT_EXCEPTION,
        ReasonKind.JUMP_TO_NOWHERE,
        ReasonKind.PANIC,
        ReasonKind.FAST_FAIL,
    }
)
"""Kinds whose innermost frame alone would merge different causes."""


def normalise(frame: Frame) -> str:
    """Its function without what changes between builds; else its place in the module."""
    if frame.function is None:
        if frame.module is None:
            return "(no module)"
        return f"{base_name(frame.module.path)}+{frame.module_offset or 0:#x}"
    name = _HASH.sub("", frame.function)
    name = _CLONE.sub("", name)
    name = _LAMBDA.sub("{lambda}", name)
    name = _collapse(_without_receiver(name), "<", ">").replace("::<>", "").replace("<>", "")
    name = name.replace("(anonymous namespace)", "{anonymous}")
    if frame.language is Language.NATIVE and "(" in name:
        name = name.replace("operator()", "operator\0")
        name = _collapse(name, "(", ")").replace("()", "").replace("operator\0", "operator()")
        name = re.sub(r"\s*(const|volatile|&|&&)$", "", name)
        # A function template's name starts with its return type: "void f<>".
        if " " in name and "operator" not in name:
            name = name.rsplit(" ", 1)[-1]
    return _NUMBERS.sub("", name).replace("{anonymous}", "(anonymous)")


def _without_receiver(name: str) -> str:
    """Rust's "<context::Node<T> as Draw>::draw" is context::Node<T>::draw."""
    if not name.startswith("<"):
        return name
    depth = 0
    for index, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">" and name[index - 1] != "-")
        if not depth:
            return name[1:index].split(" as ", 1)[0] + name[index + 1 :]
    return name


def _collapse(name: str, opening: str, closing: str) -> str:
    """Removes what is between brackets: f<int, g<char>> is f<>."""
    if name.startswith(opening) or f"operator{opening}" in name:
        return name
    kept, depth = [], 0
    for letter in name:
        if letter == opening:
            if not depth:
                kept.append(letter)
            depth += 1
        elif letter == closing and depth:
            depth -= 1
            if not depth:
                kept.append(letter)
        elif not depth:
            kept.append(letter)
    return "".join(kept)


def _without_bad_pc(frames: tuple[Frame, ...], reason: Reason | None) -> list[tuple[int, Frame]]:
    """A jump to nowhere is the fault of the frame that jumped."""
    first = reason.first_frame if reason is not None else 0
    numbered = list(enumerate(frames[:_FRAMES_LOOKED_AT]))[first:]
    frames = frames[first:]
    is_bad = reason is not None and reason.kind in _OF_BAD_PC and frames and _is_nowhere(frames[0])
    is_bad = is_bad or (len(frames) > 1 and frames[1].trust is FrameTrust.BAD_CALL)
    return numbered[1:] if is_bad else numbered


def _is_nowhere(frame: Frame) -> bool:
    return frame.function is None and frame.module is None


def _count_giving_up(frames: list[tuple[int, Frame]]) -> int:
    """How many of the innermost frames only end the process; names between them may be missing."""
    ended = 0
    for place, (_, frame) in enumerate(frames[:_GIVING_UP_MAX]):
        if frame.is_signal:
            break  # the function that raised the signal did not fault in its handler
        if frame.function is not None and _ENDS.fullmatch(normalise(frame)):
            ended = place + 1
    return ended


def _is_of_system(frame: Frame) -> bool:
    if frame.language is Language.PYTHON:
        return False
    return frame.module is not None and (
        _SYSTEM_MODULES.fullmatch(base_name(frame.module.path)) is not None
    )


def _module_of(frame: Frame | None) -> str | None:
    if frame is None:
        return None
    if frame.language is Language.PYTHON:
        return frame.source.file if frame.source is not None else None
    return frame.module.path if frame.module is not None else None
