"""From one frame to its caller, by the best that is known there.

In this order: the compiler's frame information; for a signal handler, the registers that the kernel
saved; the frame data of other formats; the traces that a call leaves.
"""

from __future__ import annotations

from perimortem.errors import MalformedInput
from perimortem.model.stack import Frame, FrameTrust
from perimortem.unwind.call_traces import CallTraces
from perimortem.unwind.caller import Caller, Lost, Outermost
from perimortem.unwind.dwarf.entries import FunctionEntry
from perimortem.unwind.dwarf.expression import ReadWord, evaluate
from perimortem.unwind.dwarf.rows import Row, Rule, RuleKind
from perimortem.unwind.frame_data import FrameData
from perimortem.unwind.machine import Machine
from perimortem.unwind.module_map import MappedModule, ModuleMap
from perimortem.unwind.place import Place
from perimortem.unwind.signal_frame import SignalFrame, read_interrupted
from perimortem.unwind.words import Words

_MASK = (1 << 64) - 1
_NO_CODE = 4096
"""No code is at a smaller address."""


class Stepper:
    """Steps through the stacks of one snapshot."""

    def __init__(self, machine: Machine, modules: ModuleMap, words: Words) -> None:
        self._machine, self._modules = machine, modules
        self._read_word = words.read
        self._traces = CallTraces(machine, modules, words)

    def step(self, registers: dict[int, int], place: Place, frame: Frame) -> Caller:
        """The frame that called ``frame``. Raises Outermost or Lost."""
        mapped, entry, row, _, signal_frame = place
        if entry is not None and row is not None:
            try:
                return self._step_by_cfi(registers, entry, row)
            except (LookupError, MalformedInput):
                pass  # what it needs is not known here; later methods need less
        elif signal_frame is not None:
            return self._step_over_signal(registers, signal_frame)
        for data in mapped.frame_data if mapped is not None else ():
            found = self._step_by_data(registers, data, mapped, frame)
            if found is not None:
                return found
        return self._traces.find(registers, frame)

    def _step_by_cfi(self, registers: dict[int, int], entry: FunctionEntry, row: Row) -> Caller:
        """Raises LookupError for an unknown register or memory, MalformedInput, Outermost."""
        machine = self._machine
        read_word = self._read_word
        rule_of_cfa = row.cfa
        if rule_of_cfa.expression is None:
            cfa = registers[rule_of_cfa.register] + rule_of_cfa.offset & _MASK
        else:
            cfa = evaluate(rule_of_cfa.expression, registers, read_word)
        caller = dict(registers)
        caller[machine.sp] = cfa
        for number, rule in row.rules.items():
            kind, value = rule
            if kind is RuleKind.OFFSET:
                caller[number] = read_word(cfa + value & _MASK)  # type: ignore[operator]
            else:
                _apply(rule, number, cfa, registers, caller, read_word)
        return_register = entry.common.return_register
        address = caller.get(return_register)
        is_kept = machine.link is None and return_register not in row.rules
        if address is None or is_kept:
            raise Outermost("the outermost function")
        if row.is_address_signed or machine.word_bytes == 4:
            address &= machine.address_mask
        caller[machine.pc] = address
        return Caller(caller, FrameTrust.CFI, is_exact=entry.common.is_signal_frame)

    def _step_over_signal(self, registers: dict[int, int], frame: SignalFrame) -> Caller:
        try:
            interrupted = read_interrupted(frame, registers[self._machine.sp], self._read_word)
        except LookupError as error:
            (address,) = error.args
            raise Lost(f"its stack at {address:#x} is not in the dump") from error
        return Caller(interrupted, FrameTrust.CFI, is_exact=True)

    def _step_by_data(
        self,
        registers: dict[int, int],
        data: FrameData,
        mapped: MappedModule | None,
        frame: Frame,
    ) -> Caller | None:
        assert mapped is not None
        try:
            step = data.unwind(
                frame.lookup_address - mapped.module.base, registers, self._read_word
            )
        except (LookupError, MalformedInput):
            return None
        pc = step.pc & self._machine.address_mask
        if pc < _NO_CODE:  # the outermost function is often described as any other
            pc = 0
        elif (frame.is_exact or not step.is_sure) and not self._modules.is_code(pc):
            return None  # inside a prologue or an epilogue
        return Caller({**step.registers, self._machine.pc: pc}, FrameTrust.CFI)


def _apply(
    rule: Rule,
    number: int,
    cfa: int,
    registers: dict[int, int],
    caller: dict[int, int],
    read_word: ReadWord,
) -> None:
    """One unusual rule."""
    kind, value = rule
    if kind is RuleKind.UNDEFINED:
        caller.pop(number, None)
    elif isinstance(value, bytes):
        found = evaluate(value, registers, read_word, cfa)
        caller[number] = read_word(found) if kind is RuleKind.EXPRESSION else found
    elif kind is RuleKind.VALUE_OFFSET:
        caller[number] = cfa + value & _MASK
    elif kind is RuleKind.REGISTER:
        caller[number] = registers[value]
