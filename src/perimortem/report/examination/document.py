"""An examination as the JSON document of docs/examination.schema.json. Pure."""

from __future__ import annotations

from typing import Any

from perimortem.analysis.crash_context import base_name
from perimortem.analysis.waits import describe_cycle, describe_wait
from perimortem.model.examination import Examination
from perimortem.model.reason import Access, Reason, Signature
from perimortem.model.snapshot import Module
from perimortem.model.stack import Frame, Language, SourceLine, ThreadStack
from perimortem.model.wait import LockCycle, ThreadWait
from perimortem.text import printable
from perimortem.unwind.fold import find_folds

SCHEMA_VERSION = 1
FRAMES_MAX = 2000
"""Per stack; of a deeper one the first and the last frames are kept, those between are counted."""


def render_examination(examination: Examination, *, frames_max: int = FRAMES_MAX) -> dict[str, Any]:
    """Every key is always present, ``None`` means unknown."""
    snapshot = examination.snapshot
    names = {stack.tid: stack.name for stack in examination.stacks}

    def name_thread(tid: int) -> str:
        return f"{tid} ({names[tid]})" if names.get(tid) else str(tid)

    return {
        "schema_version": SCHEMA_VERSION,
        "pid": snapshot.pid,
        "architecture": str(snapshot.system.architecture),
        "os": str(snapshot.system.os),
        "program": snapshot.modules[0].path if snapshot.modules else None,
        "crashed_tid": examination.crashed_tid,
        "reason": examination.reason and _render_reason(examination.reason),
        "signature": examination.signature and _render_signature(examination.signature),
        "threads": [
            render_stack(stack, examination.crashed_tid, frames_max) for stack in examination.stacks
        ],
        "waits": [_render_wait(wait, name_thread) for wait in examination.waits],
        "deadlocks": [_render_cycle(cycle, name_thread) for cycle in examination.cycles],
        "missing": [
            {"module": printable(module), "text": text} for module, text in examination.missing
        ],
        "notes": list(examination.notes),
        "paused_ms": examination.paused_ms,
    }


def _render_reason(reason: Reason) -> dict[str, Any]:
    return {
        "kind": str(reason.kind),
        "text": printable(reason.text),
        "exception": reason.exception,
        "tid": reason.tid,
        "instruction": reason.instruction,
        "access": reason.access and _render_access(reason.access),
        "message": reason.message,
        "thrown_type": reason.thrown_type,
        "evidence": [
            {"fact": printable(e.fact), "source": e.source, "confidence": e.confidence.value}
            for e in reason.evidence
        ],
    }


def _render_access(access: Access) -> dict[str, Any]:
    return {
        "kind": str(access.kind),
        "address": f"{access.address:#x}",
        "size_bytes": access.size,
        "expression": access.expression,
        "registers": {name: f"{value:#x}" for name, value in access.registers},
    }


def _render_signature(signature: Signature) -> dict[str, Any]:
    return {
        "text": printable(signature.text),
        "blamed_frame": signature.blamed_frame,
        "blamed_function": signature.blamed_function and printable(signature.blamed_function),
        "blamed_module": signature.blamed_module and printable(signature.blamed_module),
    }


def render_stack(
    stack: ThreadStack, crashed_tid: int | None = None, frames_max: int = FRAMES_MAX
) -> dict[str, Any]:
    """One thread. ``folds``: parts that repeat; ``frames`` may be cut, ``frame_count`` is not."""
    count = len(stack.frames)
    numbers = list(range(count))
    if count > frames_max:
        numbers = numbers[: frames_max // 2] + numbers[-frames_max // 2 :]
    return {
        "tid": stack.tid,
        "name": stack.name,
        "crashed": stack.tid == crashed_tid,
        "frame_count": count,
        "frames": [_render_frame(number, stack.frames[number]) for number in numbers],
        "folds": [
            {"start": fold.start, "period": fold.period, "count": fold.count}
            for fold in find_folds(stack.frames)
        ],
        "end": stack.end,
        "whole": stack.is_whole,
        "notes": list(stack.notes),
    }


def _render_frame(number: int, frame: Frame) -> dict[str, Any]:
    is_native = frame.language is Language.NATIVE
    function = "<signal handler called>" if frame.is_signal else frame.function
    return {
        "number": number,
        "language": str(frame.language),
        "address": f"{frame.pc:#x}" if is_native else None,
        "function": function and printable(function),
        "offset": f"{frame.function_offset:#x}" if is_native and frame.function else None,
        "module": _name_module(frame.module),
        "module_offset": f"{frame.module_offset:#x}" if frame.module_offset is not None else None,
        "source": frame.source and _render_line(frame.source),
        "inlined": [_render_line(line) for line in frame.inlined],
        "trust": str(frame.trust),
    }


def _name_module(module: Module | None) -> str | None:
    return printable(base_name(module.path)) if module is not None else None


def _render_line(line: SourceLine) -> dict[str, Any]:
    return {
        "file": printable(line.file),
        "line": line.line,
        "function": line.function and printable(line.function),
    }


def _render_wait(wait: ThreadWait, name_thread: Any) -> dict[str, Any]:
    return {
        "tid": wait.tid,
        "kind": str(wait.kind),
        "address": f"{wait.address:#x}",
        "name": wait.name,
        "owner_tid": wait.owner_tid,
        "has_limit": wait.has_limit,
        "detail": wait.detail,
        "text": describe_wait(wait, name_thread),
    }


def _render_cycle(cycle: LockCycle, name_thread: Any) -> dict[str, Any]:
    return {
        "tids": [wait.tid for wait in cycle.waits],
        "confidence": cycle.confidence.value,
        "text": describe_cycle(cycle, name_thread),
    }
