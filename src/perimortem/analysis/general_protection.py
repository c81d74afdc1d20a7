"""Explain a general protection fault, for which the processor gives no address. Pure.

Sources: Intel SDM volume 2, "Exceptions" of each instruction; volume 1, 3.3.7.1 (canonical addresses).
"""

from __future__ import annotations

import re

from perimortem.analysis.access import derive_access, is_canonical, locate_operands, read_register
from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.fault import classify_fault
from perimortem.analysis.poison import read_as_text
from perimortem.model.reason import Access, AccessKind, Instruction, ReasonKind

_PRIVILEGED = re.compile(
    r"hlt|cli|sti|invlpg|wbinvd|invd|wrmsr|rdmsr|rdpmc|l[gil]dt|lmsw|ltr|clts|swapgs|sysret.?|sysexit|"
    r"iret.?|monitor|mwait|xsetbv|in|out|(ins|outs)[bwd]"
)
_PRIVILEGED_REGISTER = re.compile(r"mov .*\b[cd]r\d+\b")
_INTERRUPT = re.compile(r"int(o|1)?\b")
_NEEDS_ALIGNMENT = re.compile(
    r"v?mov(ap[sd]|dqa(32|64)?|nt.*)|cmpxchg16b|fx(save|rstor)(64)?|xsave.*|xrstor.*"
)
_PREFIX = re.compile(r"^((lock|rep|repe|repne|bnd|notrack|xacquire|xrelease) )+")
_VECTOR = re.compile(r"\bxmm\d")
_NEEDS_NONE = re.compile(r"(movu|movdqu|lddqu|mov[lhqds]|cvt|pcmp.stri|v|maskmov)")
"""Instructions with a vector register: AVX, and those that the manual exempts from alignment."""
_BRANCH = re.compile(r"(call|jmp) (?:\w+ ptr )?(\w+)$")


def explain_general_protection(
    context: CrashContext, instruction: Instruction | None
) -> tuple[ReasonKind, str, Access | None]:
    """(kind, one sentence, the access if it was one)."""
    if instruction is None:
        text = "general protection fault: an invalid address, or a forbidden instruction"
        return ReasonKind.OTHER, text, None
    name = _name_of(instruction)
    if _PRIVILEGED.fullmatch(name) or _PRIVILEGED_REGISTER.match(instruction.text):
        return ReasonKind.ILLEGAL_INSTRUCTION, f"privileged instruction: {instruction.text}", None
    if _INTERRUPT.match(instruction.text):
        text = f"{instruction.text}: an interrupt that programs may not raise"
        return ReasonKind.ILLEGAL_INSTRUCTION, text, None
    target = _find_target(context, instruction)
    if target is not None and not is_canonical(target):
        how = "return" if name == "ret" else name.replace("jmp", "jump")
        words = _describe_value(target)
        text = f"{how} to {target:#x}{words}: not a valid address"
        if name == "ret":
            text += "; the return address on the stack was overwritten"
        return ReasonKind.JUMP_TO_NOWHERE, text, Access(AccessKind.EXECUTE, target)
    for address in locate_operands(context, instruction):
        alignment = _required_alignment(instruction)
        if alignment and is_canonical(address) and address % alignment:
            access = derive_access(context, instruction, address) or Access(
                AccessKind.UNKNOWN, address
            )
            return *_explain_misaligned(context, name, access, alignment), access
    text = "general protection fault: an invalid address, or a forbidden instruction"
    return ReasonKind.OTHER, text, None


def _explain_misaligned(
    context: CrashContext, name: str, access: Access, alignment: int
) -> tuple[ReasonKind, str]:
    """The processor checks alignment first; if the memory is unmapped, that is the real cause."""
    region = context.find_region(access.address)
    if region is None and context.knows_maps:
        kind, text, _ = classify_fault(context, access, 0)
        return kind, f"{text}; nor is it a multiple of {alignment}, as {name} needs"
    text = f"misaligned access: {name} to {access.address:#x}, no multiple of {alignment}"
    return ReasonKind.MISALIGNED, text


def _name_of(instruction: Instruction) -> str:
    return _PREFIX.sub("", instruction.text).split(" ", 1)[0]


def _find_target(context: CrashContext, instruction: Instruction) -> int | None:
    """The target of a branch: from a register, from memory, or from the top of the stack."""
    if _name_of(instruction) in ("ret", "retq"):
        return context.read_word(context.registers.general.get("rsp", 0))
    branch = _BRANCH.match(instruction.text)
    if branch is not None:
        return read_register(context.registers.general, branch[2])
    if instruction.text.startswith(("call ", "jmp ")):
        places = locate_operands(context, instruction)
        return context.read_word(places[0]) if places else None
    return None


def _required_alignment(instruction: Instruction) -> int:
    """In bytes; 0 for none."""
    name = _name_of(instruction)
    size = max((operand.size for operand in instruction.operands), default=0)
    if _NEEDS_ALIGNMENT.fullmatch(name):
        return 16 if name == "cmpxchg16b" else min(size, 64)
    is_vector = size == 16 and _VECTOR.search(instruction.text) and not _NEEDS_NONE.match(name)
    return size if is_vector else 0


def _describe_value(value: int) -> str:
    text = read_as_text(value)
    return f", which reads '{text}'" if text else ""
