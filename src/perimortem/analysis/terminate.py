"""Why std::terminate was called without an exception: by a thread's destructor, or the program. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from perimortem.model.stack import Frame

_TERMINATE = re.compile(r"_*(GI_)?_*abort|_*(GI_)?_*raise|_*pthread_kill.*|gsignal|__gnu_cxx::.*"
                        r"|(std|__cxxabiv1)::(_*terminate|__terminate).*|_ZSt9terminatev"
                        r"|_ZN10__cxxabiv111__terminate.*|__terminate|std::__terminate.*")  # fmt: skip
_THREAD = {
    "~thread": "destroyed",
    "operator=": "assigned to",
}
_CLASSES = ("std::thread", "std::jthread")
_FILES = ("/std_thread.h", "/thread", "/__thread/thread.h")
"""Where they are written, in libstdc++ and libc++."""
_JOINABLE = "without join() or detach(): it was still joinable"
_LOOKED_AT = 24


def describe_terminate(frames: Sequence[Frame]) -> str:
    """From the stack of its thread."""
    is_inside = False
    for name, file in _list_functions(frames[:_LOOKED_AT]):
        plain = _without_arguments(name)
        if _TERMINATE.fullmatch(plain):
            is_inside = is_inside or "terminate" in plain
            continue
        if not is_inside:
            continue
        head, _, method = plain.rpartition("::")
        # An inlined function may be without its class.
        is_thread = head in _CLASSES or (head == "" and file.endswith(_FILES))
        if is_thread and method in _THREAD:
            return f"a std::thread was {_THREAD[method]} {_JOINABLE}"
        return f"std::terminate was called by {plain}, without an exception"
    return "std::terminate was called"


def _list_functions(frames: Sequence[Frame]) -> Iterator[tuple[str, str]]:
    """(name, source file) of each, the innermost first, with those that were inlined."""
    for frame in frames:
        for line in frame.inlined:
            if line.function:
                yield line.function, line.file
        if frame.function:
            yield frame.function, frame.source.file if frame.source is not None else ""


def _without_arguments(name: str) -> str:
    """ "main::{lambda()#1}::operator()" of "main::{lambda()#1}::operator()() const"."""
    kept = name.replace("operator()", "operator\0").replace("{lambda()", "{lambda\0")
    return kept.split("(", 1)[0].replace("\0", "()")
