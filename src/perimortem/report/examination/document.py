"""An examination as its document (perimortem.documents.examination). Pure."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.analysis.crash_context import base_name
from perimortem.analysis.waits import describe_cycle, describe_wait
from perimortem.documents import examination as documents
from perimortem.model.examination import Examination
from perimortem.model.reason import Access, Reason, Signature
from perimortem.model.snapshot import Module
from perimortem.model.stack import Frame, Language, SourceLine, ThreadStack
from perimortem.model.wait import LockCycle, ThreadWait
from perimortem.text import printable
from perimortem.unwind.fold import find_folds

FRAMES_MAX = 2000
"""Per stack; of a deeper one the first and the last frames are kept, those between are counted."""


def render_examination(
    examination: Examination, *, frames_max: int = FRAMES_MAX
) -> documents.Examination:
    """Every key is always present, ``None`` means unknown."""
    snapshot = examination.snapshot
    names = {stack.tid: stack.name for stack in examination.stacks}

    def name_thread(tid: int) -> str:
        return f"{tid} ({names[tid]})" if names.get(tid) else str(tid)

    return documents.Examination(
        schema_version=1,
        pid=snapshot.pid,
        architecture=str(snapshot.system.architecture),
        os=str(snapshot.system.os),
        program=snapshot.modules[0].path if snapshot.modules else None,
        crashed_tid=examination.crashed_tid,
        reason=None if examination.reason is None else _render_reason(examination.reason),
        signature=None
        if examination.signature is None
        else _render_signature(examination.signature),
        threads=[
            render_stack(stack, examination.crashed_tid, frames_max) for stack in examination.stacks
        ],
        waits=[_render_wait(wait, name_thread) for wait in examination.waits],
        deadlocks=[_render_cycle(cycle, name_thread) for cycle in examination.cycles],
        missing=[
            documents.Missing(printable(module), text) for module, text in examination.missing
        ],
        notes=list(examination.notes),
        paused_ms=examination.paused_ms,
        exception_lost=snapshot.exception_lost,
    )


def _render_reason(reason: Reason) -> documents.Reason:
    return documents.Reason(
        kind=str(reason.kind),
        text=printable(reason.text),
        exception=reason.exception,
        tid=reason.tid,
        instruction=reason.instruction,
        access=None if reason.access is None else _render_access(reason.access),
        message=reason.message,
        thrown_type=reason.thrown_type,
        evidence=[
            documents.ReasonEvidence(printable(e.fact), e.source, e.confidence)
            for e in reason.evidence
        ],
    )


def _render_access(access: Access) -> documents.Access:
    return documents.Access(
        kind=str(access.kind),
        address=f"{access.address:#x}",
        size_bytes=access.size,
        expression=access.expression,
        registers={name: f"{value:#x}" for name, value in access.registers},
    )


def _render_signature(signature: Signature) -> documents.Signature:
    return documents.Signature(
        text=printable(signature.text),
        blamed_frame=signature.blamed_frame,
        blamed_function=signature.blamed_function and printable(signature.blamed_function),
        blamed_module=signature.blamed_module and printable(signature.blamed_module),
    )


def render_stack(
    stack: ThreadStack, crashed_tid: int | None = None, frames_max: int = FRAMES_MAX
) -> documents.ThreadStack:
    """One thread. ``folds``: parts that repeat; ``frames`` may be cut, ``frame_count`` is not."""
    count = len(stack.frames)
    numbers = list(range(count))
    if count > frames_max:
        numbers = numbers[: frames_max // 2] + numbers[-frames_max // 2 :]
    return documents.ThreadStack(
        tid=stack.tid,
        name=stack.name,
        crashed=stack.tid == crashed_tid,
        frame_count=count,
        frames=[_render_frame(number, stack.frames[number]) for number in numbers],
        folds=[
            documents.Fold(fold.start, fold.period, fold.count) for fold in find_folds(stack.frames)
        ],
        end=stack.end,
        whole=stack.is_whole,
        notes=list(stack.notes),
    )


def _render_frame(number: int, frame: Frame) -> documents.Frame:
    is_native = frame.language is Language.NATIVE
    function = "<signal handler called>" if frame.is_signal else frame.function
    return documents.Frame(
        number=number,
        language="native" if is_native else "python",
        address=f"{frame.pc:#x}" if is_native else None,
        function=function and printable(function),
        offset=f"{frame.function_offset:#x}" if is_native and frame.function else None,
        module=_name_module(frame.module),
        module_offset=f"{frame.module_offset:#x}" if frame.module_offset is not None else None,
        source=None if frame.source is None else _render_line(frame.source),
        inlined=[_render_line(line) for line in frame.inlined],
        trust=str(frame.trust),
    )


def _name_module(module: Module | None) -> str | None:
    return printable(base_name(module.path)) if module is not None else None


def _render_line(line: SourceLine) -> documents.SourceLine:
    return documents.SourceLine(
        file=printable(line.file),
        line=line.line,
        function=line.function and printable(line.function),
    )


def _render_wait(wait: ThreadWait, name_thread: Callable[[int], str]) -> documents.Wait:
    return documents.Wait(
        tid=wait.tid,
        kind=str(wait.kind),
        address=f"{wait.address:#x}",
        name=wait.name,
        owner_tid=wait.owner_tid,
        has_limit=wait.has_limit,
        detail=wait.detail,
        text=describe_wait(wait, name_thread),
    )


def _render_cycle(cycle: LockCycle, name_thread: Callable[[int], str]) -> documents.Deadlock:
    return documents.Deadlock(
        tids=[wait.tid for wait in cycle.waits],
        confidence=cycle.confidence,
        text=describe_cycle(cycle, name_thread),
    )
