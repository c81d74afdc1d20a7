"""The stacks of a tree of processes: what is equal is shown once, what is different first. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from perimortem.documents.examination import Frame, ThreadStack
from perimortem.documents.tree_stacks import SharedStack, StackedProcess, StackedThread, TreeStacks
from perimortem.model.labels import find_rank, name_part
from perimortem.report.examination.text import describe_frame, render_frames

_AGENT = "perimortem"
_NAMED_MAX = 8
_WAITS = (
    "libc.so",
    "libc-",
    "libpthread",
    "ld-linux",
    "ld-musl",
    "linux-vdso",
    "ntdll",
    "kernelbase",
)
"""Modules in which a thread waits for what others asked for."""
_BEGIN = "_start"
_INTERPRETERS = ("python", "libpython", "java", "node", "perl", "ruby")
_LIBRARIES = ("/lib/python", "/site-packages/", "/dist-packages/", "<frozen ")


def combine_stacks(
    processes: Sequence[StackedProcess], stacks: Iterable[tuple[int, ThreadStack]]
) -> TreeStacks:
    """``stacks``: (pid, stack) of every thread; ``processes`` are complete but for their places."""
    groups: dict[object, list[tuple[int, ThreadStack]]] = defaultdict(list)
    places = {}
    for pid, stack in stacks:
        if stack.name == _AGENT and stack.tid != pid:
            continue
        groups[_identify(stack)].append((pid, stack))
        if stack.tid == pid:
            places[pid] = find_place(stack)
    shared = [_share(group) for group in groups.values()]
    placed = [_place(process, places.get(process.pid, "")) for process in processes]
    odd = find_odd(placed)

    def is_usual(stack: SharedStack) -> bool:
        return all(thread.pid not in odd for thread in stack.threads)

    stacks_of_all = sorted(shared, key=lambda stack: (is_usual(stack), stack.process_count))
    return TreeStacks(schema_version=1, processes=placed, odd=odd, stacks=stacks_of_all)


def find_place(stack: ThreadStack) -> str:
    """ "step at train.py:11, in PMPI_Barrier": the innermost function of the program itself, as far as
    that is known, and what it called of a library."""
    python = [frame for frame in stack.frames if frame.language == "python"]
    if python:
        own = [frame for frame in python if not _is_library(frame)]
        place = _shorten((own or python)[0])
        return f"{place}, in {_shorten(python[0])}" if own and own[0] is not python[0] else place
    inner = _find_own(stack)
    if inner is not None:
        place, called = _shorten(stack.frames[inner]), stack.frames[inner - 1] if inner else None
        return f"{place}, in {called.function}" if called and called.function else place
    native = [frame for frame in stack.frames if not (frame.module or "").startswith(_WAITS)]
    shown = native or stack.frames
    return _shorten(shown[0]) if shown else ""


def _find_own(stack: ThreadStack) -> int | None:
    """The number of the innermost frame of the program, in a thread that began in it; None also for an
    interpreter."""
    modules = [frame.module or "" for frame in stack.frames]
    if not modules or stack.frames[-1].function != _BEGIN:
        return None
    if any(module.startswith(_INTERPRETERS) for module in modules):
        return None
    return modules.index(modules[-1])


def _shorten(frame: Frame) -> str:
    inner = frame.inlined[0] if frame.inlined else None
    function, source = frame.function, frame.source
    if inner is not None and inner.function:
        function, source = inner.function, inner
    if function is None or source is None:
        return describe_frame(frame)
    return f"{function} at {PurePath(source.file).name}:{source.line}"


def _is_library(frame: Frame) -> bool:
    return frame.source is not None and any(part in frame.source.file for part in _LIBRARIES)


def _identify(stack: ThreadStack) -> object:
    """Equal for equal stacks, wherever their modules lie."""
    frames = tuple(
        (f.function, f.source.line)
        if f.function and f.source
        else (f.function, f.module, f.module_offset)
        for f in stack.frames
    )
    return (frames, stack.end) if frames else (stack.tid,)


def _share(group: list[tuple[int, ThreadStack]]) -> SharedStack:
    return SharedStack(
        threads=[StackedThread(pid, stack.tid, stack.name) for pid, stack in group],
        process_count=len({pid for pid, _ in group}),
        stack=group[0][1],
    )


def _place(process: StackedProcess, place: str) -> StackedProcess:
    return StackedProcess(
        process.pid,
        process.parent_pid,
        process.name,
        process.title,
        process.labels,
        place,
        process.error,
    )


def describe_ranks(processes: Sequence[StackedProcess]) -> str:
    """ "rank 0, 2, 3: barrier at train.py:9; rank 1: load at train.py:10: look at rank 1 first"."""
    by_place: dict[str, list[str]] = defaultdict(list)
    ranks = {process.pid: find_rank(process.labels) for process in processes}
    for process in processes:
        by_place[process.place or "not known"].append(ranks[process.pid])
    parts = [
        f"rank {_join(sorted(numbers, key=_numeric))}: {place}"
        for place, numbers in sorted(by_place.items(), key=lambda item: -len(item[1]))
    ]
    odd = sorted((ranks[pid] for pid in find_odd(processes)), key=_numeric)
    return "; ".join(parts) + (f": look at rank {_join(odd)} first" if odd else "")


def _numeric(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() and len(number) < 9 else 0, number)


def find_odd(processes: Sequence[StackedProcess]) -> list[int]:
    """Of the ranks, or else of those of one name: those that are where fewer are than anywhere else."""
    ranks = [process for process in processes if find_rank(process.labels)]
    ((common, _),) = Counter(p.name for p in processes).most_common(1) or (("", 0),)
    alike = ranks if len(ranks) > 1 else [p for p in processes if p.name == common]
    counts = Counter(process.place for process in alike if process.place)
    if len(counts) < 2 or min(counts.values()) == max(counts.values()):
        return []
    fewest = min(counts.values())
    return [process.pid for process in alike if counts.get(process.place) == fewest]


def render_tree_stacks(document: TreeStacks, *, full: bool = False) -> str:
    """Where each process is, then every stack once, with the threads that have it."""
    by_pid = {process.pid: process for process in document.processes}
    lines = []
    by_place: dict[str, list[StackedProcess]] = defaultdict(list)
    for process in document.processes:
        by_place[process.error or process.place or "not known"].append(process)
    for place, there in sorted(by_place.items(), key=lambda item: len(item[1])):
        hint = "  <- look here first" if any(p.pid in document.odd for p in there) else ""
        lines.append(f"{_name_all(there)}: {place}{hint}")
    count = len(document.processes)
    for shared in document.stacks:
        pids = dict.fromkeys(thread.pid for thread in shared.threads)
        lines += ["", f"{len(pids)} of {count} processes: {_name_threads(shared, by_pid)}"]
        lines += [f"  {line}" for line in render_frames(shared.stack, full=full)]
        if not shared.stack.whole or not shared.stack.frames:
            lines.append(f"  {'...' if shared.stack.frames else 'none'}: {shared.stack.end}")
    return "\n".join(lines) + "\n"


def _name_all(processes: Sequence[StackedProcess]) -> str:
    return _join([name_stacked(process) for process in processes])


def _name_threads(shared: SharedStack, by_pid: dict[int, StackedProcess]) -> str:
    names = [
        f"{name_stacked(by_pid[thread.pid])} thread {thread.tid} ({thread.name})"
        for thread in shared.threads
    ]
    return _join(names)


def _join(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def name_stacked(process: StackedProcess) -> str:
    """ "rank 3 (python3[4711])", "postgres: walwriter[4712]"."""
    name = f"{process.title or process.name}[{process.pid}]"
    part = name_part(process.labels)
    return f"{part} ({name})" if part else name
