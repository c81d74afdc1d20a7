"""Recognise the last message of a program on its standard error. Pure.

Each rule is that of one runtime or library, by the form in which it prints. A rule that is not sure of
its form says nothing. The last message counts: an earlier one was survived.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from perimortem.model.last_words import LastWords, Said, SaidKind
from perimortem.text import printable

TEXT_MAX = 4 << 10
"""Kept of what is not recognised, in bytes."""
MESSAGE_MAX = 16 << 10
"""Kept of a message that is: a sanitizer's report is to be read whole."""
_LINE_MAX = 400
_CONTEXT = 400
"""Kept before a message."""
Lines = list[tuple[int, str]]
"""(offset, line)."""
_Rule = Callable[[Lines, int], Said | None]


def read_last_words(raw: bytes, source: str) -> LastWords | None:
    """``raw``: the end of standard error; None if nothing was printed."""
    text = raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    if not text.strip():
        return None
    said = find_said(text)
    begin = len(text) - TEXT_MAX
    if said is not None:
        begin = min(begin, max(said.start - _CONTEXT, len(text) - MESSAGE_MAX))
    if begin > 0:  # at the start of a line
        begin = text.find("\n", begin) + 1
    kept = text[max(0, begin) :]
    return LastWords("\n".join(printable(line) for line in kept.splitlines()), source, said)


def find_said(text: str) -> Said | None:
    """The last message that is recognised."""
    lines = list(_list_lines(text))
    for index in range(len(lines) - 1, -1, -1):
        for rule in _RULES:
            said = rule(lines, index)
            if said is not None:
                return said
    return None


def _list_lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


def _make(
    kind: SaidKind, text: str, start: int, place: str | None = None, file: str | None = None
) -> Said:
    shown = printable(" ".join(text.split()))
    if len(shown) > _LINE_MAX:
        shown = shown[: _LINE_MAX - 3] + "..."
    return Said(kind, shown, printable(place) if place else None, file, start)


def _following(lines: Lines, index: int, pattern: str, limit: int = 200) -> re.Match[str] | None:
    """The first of the next lines that matches."""
    found = re.compile(pattern)
    for _, line in lines[index + 1 : index + 1 + limit]:
        match = found.match(line)
        if match is not None:
            return match
    return None


def _go(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    match = re.match(r"(panic|fatal error): (.+)", line)
    if (
        match is None
        or _following(lines, index, r"goroutine \d+ (?:gp=\S+ m=\S+ )?(?:mp=\S+ )?\[") is None
    ):
        is_known = "all goroutines are asleep" in line
        if match is None or not is_known:
            return None
    kind = SaidKind.GO_PANIC if match[1] == "panic" else SaidKind.GO_FATAL
    return _make(kind, match[2], start, _find_go_place(lines, index))


def _find_go_place(lines: Lines, index: int) -> str | None:
    """The first frame of the program itself: "\\t/src/main.go:12 +0x1d"."""
    for _, line in lines[index + 1 : index + 60]:
        match = re.match(r"\t(\S.*\.go:\d+)(?: \+0x[0-9a-f]+)?$", line)
        if match is not None and "/src/runtime/" not in match[1]:
            return match[1]
    return None


def _rust(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    new = re.match(r"thread '.*?'(?: \(\d+\))? panicked at ([^\n']+:\d+:\d+):$", line)
    if new is not None:
        message = lines[index + 1][1] if index + 1 < len(lines) else ""
        return _make(SaidKind.RUST_PANIC, message or "panic", start, new[1])
    old = re.match(r"thread '.*?' panicked at '(.*)', (\S+:\d+:\d+)$", line)
    return _make(SaidKind.RUST_PANIC, old[1], start, old[2]) if old is not None else None


def _node(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    fatal = re.match(r"FATAL ERROR: (.+)", line)
    if fatal is not None:
        return _make(SaidKind.NODE_FATAL, fatal[1], start)
    error = re.match(
        r"(?:Uncaught )?((?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?(?::.*)?)$", line
    )
    place = re.match(r"    at (?:.*\()?(\S+:\d+:\d+)\)?$", _line_at(lines, index + 1))
    if error is None or place is None:
        return None
    return _make(SaidKind.NODE_ERROR, error[1], start, place[1].removeprefix("file://"))


def _python(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    fatal = re.match(r"Fatal Python error: (.+)", line)
    if fatal is not None:
        frame = _following(lines, index, r'  File "(.+)", line (\d+) in ')
        place = f"{frame[1]}:{frame[2]}" if frame is not None else None
        return _make(SaidKind.PYTHON_FATAL, fatal[1], start, place)
    if line != "Traceback (most recent call last):":
        return None
    place = None
    for _, following in lines[index + 1 :]:
        frame = re.match(r'  File "(.+)", line (\d+)', following)
        if frame is not None:
            place = f"{frame[1]}:{frame[2]}"
        elif following and not following.startswith(" "):
            return _make(SaidKind.PYTHON_ERROR, following, start, place)
    return None


def _cpp(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    match = re.match(r"terminate called after throwing an instance of '(.+)'$", line)
    if match is None:
        return None
    what = re.match(r"  what\(\):  (.*)", _line_at(lines, index + 1))
    return _make(SaidKind.CPP_EXCEPTION, match[1] + (f": {what[1]}" if what else ""), start)


def _dotnet(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    match = re.match(r"Unhandled exception\. (.+)", line)
    if match is None:
        return None
    frame = _following(lines, index, r"   at .* in (.+):line (\d+)")
    return _make(
        SaidKind.DOTNET_EXCEPTION, match[1], start, f"{frame[1]}:{frame[2]}" if frame else None
    )


def _sanitizer(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    match = re.match(r"(?:==\d+==\s?ERROR|WARNING|==\d+==WARNING): (\w+Sanitizer): (.+)", line)
    if match is None:
        undefined = re.match(r"(\S+:\d+:\d+): runtime error: (.+)", line)
        if undefined is None:
            return None
        text = f"UndefinedBehaviorSanitizer: {undefined[2]}"
        return _make(SaidKind.SANITIZER, text, start, undefined[1])
    frame = _following(lines, index, r"    #\d+ 0x[0-9a-f]+ in .* (/\S+:\d+)(?::\d+)?$", 30)
    what = re.sub(r" on (?:unknown )?address.*| \(pid=\d+\)$", "", match[2])
    return _make(SaidKind.SANITIZER, f"{match[1]}: {what}", start, frame[1] if frame else None)


def _jvm(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    if line != "# A fatal error has been detected by the Java Runtime Environment:":
        return None
    what = _following(
        lines,
        index,
        r"#  ((?:SIG\w+|EXCEPTION_\w+|Internal Error|Out of Memory).*?)(?:,| at pc=|$)",
    )
    frame = _following(lines, index, r"# ([CVJjv]  ?\[?\S.*)")
    file = None
    for at in range(index, min(index + 40, len(lines))):
        if lines[at][1].startswith("# An error report file with more information is saved as"):
            file = _line_at(lines, at + 1).removeprefix("# ").strip()
    text = (what[1] if what else "a fatal error") + (f" in {frame[1]}" if frame else "")
    return _make(SaidKind.JVM_FATAL, text, start, None, file)


def _linker(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    match = re.match(
        r"(?:\S+: )?(?:symbol lookup error: (.+)|error while loading shared libraries: (.+)"
        r"|relocation error: (.+))",
        line,
    )
    if match is None:
        return None
    return _make(SaidKind.LINKER, next(group for group in match.groups() if group), start)


def _assertion(lines: Lines, index: int) -> Said | None:
    """Of assert(), of libstdc++, of Qt."""
    start, line = lines[index]
    match = re.match(r"(?:(\S+): )?(\S+:\d+): (.+?)(?::|;) ?Assertion [`'](.+)' failed\.?$", line)
    if match is not None:
        return _make(SaidKind.ASSERTION, f"{match[4]}, in {match[3]}", start, match[2])
    qt = re.match(r'ASSERT: "(.+)" in file (.+), line (\d+)$', line)
    return _make(SaidKind.ASSERTION, qt[1], start, f"{qt[2]}:{qt[3]}") if qt is not None else None


_HEAP = re.compile(
    r"(?:free|malloc|realloc|munmap_chunk|corrupted|double free|malloc_consolidate)\b.{0,12}\S.*"
    r"|\*\*\* (?:stack smashing|buffer overflow) detected \*\*\*.*"
)
_HEAP_WORDS = (
    "()",
    "corrupted size",
    "corrupted double-linked",
    "double free or corruption",
    "***",
)


def _heap(lines: Lines, index: int) -> Said | None:
    start, line = lines[index]
    if _HEAP.fullmatch(line) is None or not any(word in line for word in _HEAP_WORDS):
        return None
    return _make(SaidKind.HEAP, line, start)


def _line_at(lines: Lines, index: int) -> str:
    return lines[index][1] if index < len(lines) else ""


_RULES: tuple[_Rule, ...] = (
    _go, _rust, _sanitizer, _jvm, _node, _python, _cpp, _dotnet, _linker, _assertion, _heap,
)  # fmt: skip
