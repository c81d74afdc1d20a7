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
_JOINABLE = "without join() or detach(): it was still joinable"
_LOOKED_AT = 24


def describe_terminate(frames: Sequence[Frame]) -> str:
    """From the stack of its thread."""
    is_inside = False
    for name in _list_functions(frames[:_LOOKED_AT]):
        plain = _without_arguments(name)
        if _TERMINATE.fullmatch(plain):
            is_inside = is_inside or "terminate" in plain
            continue
        if not is_inside:
            continue
        head, _, method = plain.rpartition("::")
        # An inlined function may be without its class.
        if (head in _CLASSES and method in _THREAD) or (head == "" and method == "~thread"):
            return f"a std::thread was {_THREAD[method]} {_JOINABLE}"
        return f"std::terminate was called by {plain}, without an exception"
    return "std::terminate was called"


def _list_functions(frames: Sequence[Frame]) -> Iterator[str]:
    """The innermost first, with those that were inlined."""
    for frame in frames:
        for line in frame.inlined:
            if line.function:
                yield line.function
        if frame.function:
            yield frame.function


def _without_arguments(name: str) -> str:
    """ "main::{lambda()#1}::operator()" of "main::{lambda()#1}::operator()() const"."""
    kept = name.replace("operator()", "operator\0").replace("{lambda()", "{lambda\0")
    return kept.split("(", 1)[0].replace("\0", "()")
