"""Why it crashed, in one sentence, from the exception, the registers, the code and the maps. Pure."""

from __future__ import annotations

from dataclasses import replace

from perimortem.analysis.abort import derive_abort_reason, has_abort_reason
from perimortem.analysis.access import (
    decode_instruction,
    derive_access,
    locate_operands,
    read_register,
)
from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.exception_words import HAS_ADDRESS, SI_KERNEL, describe_exception
from perimortem.analysis.fault import classify_fault, describe_access
from perimortem.analysis.general_protection import explain_general_protection
from perimortem.analysis.handled_fault import find_handled_fault
from perimortem.analysis.memory_limit import mention_memory_limit
from perimortem.analysis.signal_safety import describe_reentry
from perimortem.exits import fuchsia, mach, ntstatus
from perimortem.exits.signals import signal_name
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import Access, AccessKind, Instruction, Reason, ReasonKind
from perimortem.model.snapshot import ExceptionRecord, OperatingSystem

_ILL, _TRAP, _ABRT, _BUS, _FPE, _SEGV, _SYS = 4, 5, 6, 7, 8, 11, 31
_SI_TKILL = 0xFFFFFFFA
_BUS_ADRERR, _MEMORY_FAILED = 2, (4, 5)
_DEBUGGERS_TRAPS = (2, 3, 4)
"""TRAP_TRACE, TRAP_BRANCH, TRAP_HWBKPT."""
_NAMELESS_FRAMES = 8
_NO_CALL = (1 << 64) - 1
_REQUESTED = frozenset({0, 0xFFFFFFFF, 0x43507378, 0x0517A7ED})
"""Codes of a dump that was only requested: of Crashpad, Breakpad, and Crashpad on macOS and Windows."""
_NSEXCEPTION = "an uncaught NSException"
_ACCESS_VIOLATION, _IN_PAGE_ERROR, _STACK_OVERFLOW = 0xC0000005, 0xC0000006, 0xC00000FD
_CXX_EXCEPTION = 0xE06D7363
_WINDOWS_KINDS = {
    0xC0000094: ReasonKind.DIVISION,
    0xC0000095: ReasonKind.DIVISION,
    0xC000001D: ReasonKind.ILLEGAL_INSTRUCTION,
    0xC0000096: ReasonKind.ILLEGAL_INSTRUCTION,
    0x80000003: ReasonKind.TRAP,
    0xC0000374: ReasonKind.HEAP_CORRUPTION,
    0xC0000420: ReasonKind.ASSERTION,
    0x80000002: ReasonKind.MISALIGNED,
    _CXX_EXCEPTION: ReasonKind.UNCAUGHT_EXCEPTION,
}
_FLOAT_CODES = {
    3: "division by zero",
    4: "overflow",
    5: "underflow",
    6: "inexact result",
    7: "invalid operation",
    8: "subscript out of range",
}
_ILLEGAL_SHOWN = 8
"""Bytes."""
_BREAKPOINT = b"\xcc"
_DIVISIONS = ("div ", "idiv ", "sdiv ", "udiv ")
_TRAPS = ("ud2", "ud1", "int3", "brk", "udf", "hlt")


def derive_reason(context: CrashContext) -> Reason | None:
    """None for a dump without an exception: nothing crashed."""
    exception = context.snapshot.exception
    if exception is None or exception.code in _REQUESTED:
        return None
    deriving = _Deriving(context, exception, describe_exception(context.snapshot, exception))
    if not context.registers.general:
        return deriving.by_words()
    reason = {
        OperatingSystem.LINUX: deriving.of_linux,
        OperatingSystem.WINDOWS: deriving.of_windows,
        OperatingSystem.MACOS: deriving.of_mach,
        OperatingSystem.FUCHSIA: deriving.of_fuchsia,
    }.get(context.snapshot.system.os, deriving.by_words)()
    reason = mention_memory_limit(context, reason)
    reentry = describe_reentry(context.stack.frames)
    return reason if reentry is None else replace(reason, text=f"{reentry}; {reason.text}")


class _Deriving:
    def __init__(self, context: CrashContext, exception: ExceptionRecord, words: str) -> None:
        self._context, self._exception, self._words = context, exception, words
        general = context.registers.general
        self._pc = general.get("rip", general.get("pc", general.get("eip", 0)))
        self._instruction = decode_instruction(context, self._pc)
        self._observed = Evidence(
            f"{words} in thread {exception.tid}", "exception", Confidence.OBSERVED
        )

    def by_words(self) -> Reason:
        """Without registers, or of a system that is not known: no more than what it says."""
        return self._make(ReasonKind.OTHER, self._words)

    def of_linux(self) -> Reason:
        code, flags = self._exception.code, self._exception.flags & 0xFFFFFFFF
        if flags == 0 and code in HAS_ADDRESS:
            # Sent by another process; or a writer that omits si_code, and perhaps the address too.
            address = self._find_fault_address()
            if address is not None:
                reason = self._make_fault(address)
                is_unclear = code == _BUS and reason.kind is ReasonKind.OTHER
                return self._make_unclear_bus(address) if is_unclear else reason
        is_sent = flags == 0 or flags > 0x7FFFFFFF
        is_abort = code == _ABRT and (self._is_own_signal(flags) or has_abort_reason(self._context))
        if is_abort or flags == _SI_TKILL:
            handled = self._make_handled("called abort()" if is_abort else "raised it again")
            if handled is not None:
                return handled
        if is_abort:
            return self._make_giving_up()
        if not self._exception.has_flags:
            return self._make_unknown()
        if is_sent:
            return self._make(ReasonKind.OTHER, f"{signal_name(code)} was sent to it")
        return self._make_raised(code, flags)

    def _make_handled(self, then: str) -> Reason | None:
        """If a signal handler has ended it: why that was called."""
        handled = find_handled_fault(self._context)
        reason = derive_reason(handled.context) if handled is not None else None
        if handled is None or reason is None:
            return None
        return replace(
            reason,
            text=f"{reason.text}; {handled.words} then {then}",
            exception=f"{reason.exception}, then {self._words}",
            first_frame=handled.first_frame,
            evidence=(self._observed, *reason.evidence),
        )

    def _make_raised(self, code: int, flags: int) -> Reason:
        """By the processor or the kernel."""
        if code == _SEGV or (code == _BUS and flags == SI_KERNEL):
            # A general protection fault (SIGBUS if through rsp or rbp) has no address: use that of
            # the instruction's operand.
            return self._make_fault(None if flags == SI_KERNEL else self._exception.address)
        if code == _BUS:
            return self._make_bus(flags)
        if code == _FPE:
            return self._make_arithmetic(flags)
        if code in (_ILL, _TRAP):
            return self._make_trap()
        if code == _SYS:
            return self._make_seccomp()
        return self._make(ReasonKind.OTHER, self._words)

    def of_mach(self) -> Reason:
        kind, code = self._exception.code, self._exception.flags & 0xFFFFFFFF
        if kind == mach.BAD_ACCESS:
            if code == mach.MISALIGNED:
                return self._make(ReasonKind.MISALIGNED, "misaligned access")
            is_known = code != mach.GENERAL_PROTECTION
            return self._make_fault(self._exception.address if is_known else None)
        if kind == mach.ARITHMETIC and code == mach.DIVISION and self._is_division():
            return self._make_division()
        if kind in (mach.BAD_INSTRUCTION, mach.BREAKPOINT):
            return self._make_trap()
        if kind == mach.SOFTWARE and code == mach.UNCAUGHT_NSEXCEPTION:
            return self._make(ReasonKind.UNCAUGHT_EXCEPTION, _NSEXCEPTION)
        if kind in (mach.CRASH, mach.SOFTWARE) and mach.to_signal(kind, code) == _ABRT:
            return self._make_giving_up()
        return self.by_words()

    def of_fuchsia(self) -> Reason:
        kind = self._exception.code
        if kind == fuchsia.PAGE_FAULT:
            return self._make_fault(self._exception.address)
        if kind in (fuchsia.UNDEFINED_INSTRUCTION, fuchsia.SOFTWARE_BREAKPOINT):
            return self._make_trap()
        if kind == fuchsia.UNALIGNED:
            return self._make(ReasonKind.MISALIGNED, "misaligned access")
        return self.by_words()

    def _make_unknown(self) -> Reason:
        """Whether the processor raised the signal or a process sent it is not recorded: the instruction
        decides, as far as it can."""
        code = self._exception.code
        if code == _FPE and self._is_division():
            return self._make_division()
        if code in (_ILL, _TRAP) and self._find_trap():
            return self._make_trap()
        name = signal_name(code)
        text = f"{name}; whether it was raised by this code or sent is not recorded"
        return self._make(ReasonKind.OTHER, text)

    def _is_own_signal(self, flags: int) -> bool:
        """For a stack without names; with names, they decide.

        Breakpad writes siginfo_t's union as the address: for a sent signal, the sender's pid.
        """
        if any(frame.function for frame in self._context.stack.frames[:_NAMELESS_FRAMES]):
            return False
        sender = self._exception.address & 0xFFFFFFFF
        return flags == _SI_TKILL or (flags == 0 and sender == self._context.snapshot.pid)

    def _find_fault_address(self) -> int | None:
        """Where this instruction must fault: it is not code, or it accesses unmapped memory."""
        context = self._context
        region = context.find_region(self._pc)
        if context.knows_maps and (region is None or not region.executable):
            return self._pc
        access = derive_access(context, self._instruction, self._exception.address)
        if access is not None and access.expression is not None:
            return access.address
        for address in locate_operands(context, self._instruction):
            place = context.find_region(address)
            if context.knows_maps and (place is None or not place.readable):
                return address
        return None

    def of_windows(self) -> Reason:
        code, parameters = self._exception.code, self._exception.parameters
        if code == _STACK_OVERFLOW:
            depth = len(self._context.stack.frames)
            return self._make(ReasonKind.STACK_OVERFLOW, f"stack overflow, {depth} frames deep")
        if code in (_ACCESS_VIOLATION, _IN_PAGE_ERROR) and len(parameters) >= 2:
            # -1: unknown, as for a non-canonical address.
            is_known = parameters[1] != (1 << 64) - 1
            return self._make_fault(parameters[1] if is_known else None)
        if code == ntstatus.FAST_FAIL_STATUS:
            subcode = parameters[0] if parameters else None
            _, words = ntstatus.FAST_FAIL_CODES.get(subcode or -1, ("", "ended by __fastfail"))
            kind = ReasonKind.STACK_SMASHING if subcode == 2 else ReasonKind.FAST_FAIL
            return self._make(kind, f"fast-fail: {words}")
        name, meaning = ntstatus.STATUSES.get(code, (f"{code:#010x}", "an unhandled exception"))
        if code == 0xC0000094:
            return self._make_division()
        return self._make(_WINDOWS_KINDS.get(code, ReasonKind.OTHER), f"{name}: {meaning}")

    def _make_fault(self, address: int | None) -> Reason:
        access = derive_access(self._context, self._instruction, address)
        if access is None:
            kind, text, access = explain_general_protection(self._context, self._instruction)
            return self._make(kind, text, access)
        kind, text, evidence = classify_fault(self._context, access, self._pc)
        if self._pc == access.address:
            access = Access(AccessKind.EXECUTE, access.address)
            self._instruction = None  # there is no code at this address
        return self._make(kind, text, access, evidence)

    def _make_bus(self, flags: int) -> Reason:
        access = derive_access(self._context, self._instruction, self._exception.address)
        if flags == 1:
            return self._make(ReasonKind.MISALIGNED, "misaligned access", access)
        place = self._context.describe_place(self._exception.address)
        what = f"access to {self._exception.address:#x}, in {place}"
        if flags in _MEMORY_FAILED:
            text = f"{what}: the memory itself has failed (a machine check)"
            return self._make(ReasonKind.OTHER, text, access)
        region = self._context.find_region(self._exception.address)
        if flags != _BUS_ADRERR or region is None or not (region.path or region.shared):
            return self._make(
                ReasonKind.OTHER, f"{what}, which has no data at that address", access
            )
        text = f"{what}: the file was truncated, or its disk is full"
        return self._make(ReasonKind.FILE_CUT, text, access)

    def _make_unclear_bus(self, address: int) -> Reason:
        """si_code is not recorded."""
        access = derive_access(self._context, self._instruction, address)
        what = describe_access(access) if access is not None else f"access to {address:#x}"
        place = self._context.describe_place(address)
        text = f"{what}, in {place}: SIGBUS, whose cause is not recorded"
        return self._make(ReasonKind.OTHER, text, access)

    def _make_arithmetic(self, flags: int) -> Reason:
        if flags not in _FLOAT_CODES:
            return self._make_division()
        text = f"floating-point exception: {_FLOAT_CODES[flags]}"
        return self._make(ReasonKind.FLOATING_POINT, text)

    def _make_division(self) -> Reason:
        text = "division by zero, or a quotient that does not fit"
        instruction = self._instruction
        if instruction is not None and self._is_division():
            divisor, value = self._read_divisor(instruction)
            if value is not None:
                text = "division by zero" if value == 0 else "division: the quotient does not fit"
            is_register = value == 0 and not instruction.operands
            text += f": {instruction.text}" + (f" ({divisor} = 0)" if is_register else "")
        return self._make(ReasonKind.DIVISION, text)

    def _is_division(self) -> bool:
        return self._instruction is not None and self._instruction.text.startswith(_DIVISIONS)

    def _read_divisor(self, instruction: Instruction) -> tuple[str, int | None]:
        """(its name, its value); None if it is not known."""
        name = instruction.text.partition(" ")[2].rpartition(", ")[2]
        if not instruction.operands:
            return name, read_register(self._context.registers.general, name)
        size = instruction.operands[0].size
        place = next(iter(locate_operands(self._context, instruction)), None)
        data = self._context.read(place, size) if place is not None else b""
        known = 0 < size == len(data)
        return name, int.from_bytes(data, "little") if known else None

    def _find_trap(self) -> bool:
        """Is there, where it stopped, an instruction that traps, or none that the processor knows?

        The address of int3 is that of the next instruction: then it is set right."""
        if self._context.read(self._pc - 1, 1) == _BREAKPOINT:
            self._pc -= 1
            self._instruction = decode_instruction(self._context, self._pc)
        code = self._context.read(self._pc, 1)
        instruction = self._instruction
        return bool(code) and (instruction is None or instruction.text.split(" ", 1)[0] in _TRAPS)

    def _make_trap(self) -> Reason:
        given_up = derive_abort_reason(self._context)
        if given_up.kind is not ReasonKind.ABORT:
            return self._make(given_up.kind, given_up.text, None, list(given_up.evidence))
        is_linux = self._context.snapshot.system.os is OperatingSystem.LINUX
        if is_linux and self._is_breakpoint() and self._exception.flags in _DEBUGGERS_TRAPS:
            text = (
                "a trap that a debugger has set (single step, hardware breakpoint), and none took"
            )
            return self._make(ReasonKind.TRAP, text)
        is_trap = self._is_breakpoint()
        has_trap = self._find_trap() if is_trap else False
        name = self._instruction.text.split(" ", 1)[0] if self._instruction else ""
        if name in _TRAPS:
            text = f"{name}: the program ended itself here (a failed check, unreachable code)"
            return self._make(ReasonKind.TRAP, text)
        if is_trap and not has_trap:
            text = f"{self._words}: a breakpoint or a single step, as a debugger sets them"
            return self._make(ReasonKind.TRAP, text)
        return self._make(ReasonKind.ILLEGAL_INSTRUCTION, self._describe_illegal())

    def _describe_illegal(self) -> str:
        """One that this processor does not have, or bytes that are none."""
        instruction, place = self._instruction, self._context.describe_place(self._pc)
        size = instruction.size if instruction is not None else _ILLEGAL_SHOWN
        raw = self._context.read(self._pc, size).hex(" ")
        if instruction is None:
            shown = f": {raw} is none that is known here" if raw else ""
            return f"illegal instruction at {self._pc:#x}, in {place}{shown}"
        if instruction.feature is None:
            return f"illegal instruction {instruction.text} ({raw}), in {place}: it is refused here"
        needs = f"it needs {instruction.feature}, which this processor or system does not offer"
        return f"illegal instruction {instruction.text} ({raw}), in {place}: {needs}"

    def _is_breakpoint(self) -> bool:
        """Is it the exception of a breakpoint, and not that of an instruction that is not known?"""
        return self._exception.code == {
            OperatingSystem.MACOS: mach.BREAKPOINT,
            OperatingSystem.FUCHSIA: fuchsia.SOFTWARE_BREAKPOINT,
        }.get(self._context.snapshot.system.os, _TRAP)

    def _make_seccomp(self) -> Reason:
        general = self._context.registers.general
        number = general.get("orig_rax", _NO_CALL)
        number = general.get("rax", general.get("x8", 0)) if number == _NO_CALL else number
        return self._make(
            ReasonKind.FORBIDDEN_CALL, f"system call {number} is refused by its seccomp filter"
        )

    def _make_giving_up(self) -> Reason:
        given_up = derive_abort_reason(self._context)
        return Reason(
            kind=given_up.kind,
            text=given_up.text,
            exception=self._words,
            tid=self._exception.tid,
            message=given_up.message,
            thrown_type=given_up.thrown_type,
            evidence=(self._observed, *given_up.evidence),
        )

    def _make(
        self,
        kind: ReasonKind,
        text: str,
        access: Access | None = None,
        evidence: list[Evidence] | None = None,
    ) -> Reason:
        facts = [self._observed]
        instruction: Instruction | None = self._instruction
        if instruction is not None:
            facts.append(
                Evidence(f"{self._pc:#x}: {instruction.text}", "disassembly", Confidence.OBSERVED)
            )
        return Reason(
            kind=kind,
            text=text,
            exception=self._words,
            tid=self._exception.tid,
            instruction=instruction.text if instruction is not None else None,
            access=access,
            evidence=(*facts, *(evidence or [])),
        )
