"""Python and native frames as one stack. Pure.

Each entry into the evaluation loop is one native frame, and runs one Python frame or, since 3.11, many
that call each other without leaving it. So the native frames of the loop and the Python frames that
entered it are the same calls, counted from the outermost on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from perimortem.model.python_stack import PythonFrame, PythonThread
from perimortem.model.stack import Frame, FrameTrust, Language, SourceLine, ThreadStack

_EVALUATION = re.compile(r"_?PyEval_EvalFrame(?:Default|Ex)(?:\.|$)")
# 3.14 may be built so that each instruction is a function that calls the next one.
_TAIL_CALLS = re.compile(r"_TAIL_CALL_\w+")


def is_evaluation(frame: Frame) -> bool:
    """The loop that runs Python code."""
    return frame.function is not None and _EVALUATION.match(frame.function) is not None


def merge_python(
    stacks: Iterable[ThreadStack], threads: Iterable[PythonThread]
) -> tuple[ThreadStack, ...]:
    """``stacks`` have their names; threads are identified by their ids."""
    by_tid = {thread.tid: thread for thread in threads}
    return tuple(
        _merge(stack, by_tid[stack.tid]) if stack.tid in by_tid else stack for stack in stacks
    )


def _merge(stack: ThreadStack, thread: PythonThread) -> ThreadStack:
    notes = stack.notes
    if thread.holds_gil:
        notes = (*notes, "holds the GIL")
    elif any((frame.function or "").startswith("take_gil") for frame in stack.frames):
        notes = (*notes, "waits for the GIL")
    groups = _group(thread.frames)
    entered = [index for index, frame in enumerate(stack.frames) if _enters(stack.frames, index)]
    if len(groups) != len(entered):
        return replace(
            stack,
            frames=(*_convert_all(thread.frames, stack.frames[:1]), *stack.frames),
            notes=(
                *notes,
                f"the Python frames are shown before the native ones: {len(groups)} entries into the "
                f"evaluation loop do not match {len(entered)} native frames of it",
            ),
        )
    frames: list[Frame] = []
    rest = iter(groups)
    for index, frame in enumerate(stack.frames):
        if index in set(entered):
            frames += _convert_all(next(rest), (frame,))
        elif not _is_loop(frame):
            frames.append(frame)
    return replace(stack, frames=tuple(frames), notes=notes)


def _is_loop(frame: Frame) -> bool:
    name = frame.function or ""
    return _EVALUATION.match(name) is not None or _TAIL_CALLS.match(name) is not None


def _enters(frames: tuple[Frame, ...], index: int) -> bool:
    """The outermost native frame of one entry into the loop."""
    following = frames[index + 1] if index + 1 < len(frames) else None
    if is_evaluation(frames[index]):
        return True
    is_tail = _TAIL_CALLS.match(frames[index].function or "") is not None
    return is_tail and (following is None or not _is_loop(following))


def _group(frames: tuple[PythonFrame, ...]) -> list[list[PythonFrame]]:
    """By the entry that they run in; innermost first, like the frames."""
    groups: list[list[PythonFrame]] = [[]]
    for frame in frames:
        groups[-1].append(frame)
        if frame.is_entry:
            groups.append([])
    return [group for group in groups if group]


def _convert_all(frames: Iterable[PythonFrame], at: tuple[Frame, ...]) -> list[Frame]:
    """As frames in place of the native frame ``at``."""
    pc = at[0].pc if at else 0
    stack_pointer = at[0].stack_pointer if at else 0
    return [
        Frame(
            pc=pc,
            stack_pointer=stack_pointer,
            trust=FrameTrust.PYTHON,
            function=frame.function,
            source=SourceLine(frame.file, frame.line, frame.function),
            language=Language.PYTHON,
        )
        for frame in frames
    ]
