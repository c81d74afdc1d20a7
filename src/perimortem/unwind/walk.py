"""From the registers of a thread to its frames. Pure: memory and images are passed in.

Each step tries, in this order, and the frame records which one succeeded: the compiler's frame
information; after a call to nowhere, the return address that the call left; the chain of frame
pointers; a search of the stack for what looks like a return address.

Folklore: the return address after a call that never returns may be in the next function: every frame
but an interrupted one is looked up a byte before. A pc of 0 is a legal frame above a signal (a call
through a null pointer). Stacks never shrink on the way out, except for alternate signal stacks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Snapshot, Thread
from perimortem.model.stack import Frame, FrameTrust, ThreadStack
from perimortem.unwind.dwarf.entries import FunctionEntry
from perimortem.unwind.dwarf.expression import ReadWord, evaluate
from perimortem.unwind.dwarf.rows import Row, Rule, RuleKind
from perimortem.unwind.machine import MACHINES, Machine
from perimortem.unwind.module_map import FindImage, MappedModule, ModuleMap
from perimortem.unwind.signal_frame import TRAMPOLINE_BYTES, is_trampoline, read_interrupted

FRAMES_MAX = 1_000_000
"""A stack of 8 MiB has at most half of it."""
SCAN_WORDS_FIRST, SCAN_WORDS = 512, 128
"""How far a return address is searched for: from the innermost frame, and from others. Arbitrary."""
SCANNED_MAX = 32
"""Consecutive frames found by search only: what follows is guesswork. Arbitrary."""
_PAGE = 4096
_MASK = (1 << 64) - 1


_Place = tuple[MappedModule | None, FunctionEntry | None, Row | None, bool]
"""For an instruction: its module, its function's entry, how to unwind there, whether signal frame."""


class _Outermost(Exception):
    """There is no caller; carries the reason."""


class _Lost(Exception):
    """There is a caller, or may be, and it was not found; carries the reason."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """The result of one step."""

    registers: dict[int, int]
    trust: FrameTrust
    is_exact: bool = False


class StackWalker:
    """Walks the stacks of one snapshot."""

    def __init__(self, snapshot: Snapshot, find_image: FindImage) -> None:
        """``find_image``: the file of a module, or None."""
        self.modules = ModuleMap(snapshot, find_image)
        self._snapshot = snapshot
        self._architecture = snapshot.system.architecture
        self._read = snapshot.content.read
        self._pages: dict[int, bytes] = {}
        self._returns: dict[int, bool] = {}
        self._places: dict[tuple[int, bool], _Place] = {}
        machine = MACHINES.get(self._architecture)
        self._word = struct.Struct("<I" if machine and machine.word_bytes == 4 else "<Q")

    def walk_all(self) -> Iterator[ThreadStack]:
        """For every thread, in the snapshot's order."""
        return (self.walk(thread) for thread in self._snapshot.threads)

    def walk(self, thread: Thread) -> ThreadStack:
        """Never raises: a stack that cannot be walked says why."""
        machine = MACHINES.get(self._architecture)
        frames: list[Frame] = []
        is_whole = False
        if machine is None:
            *others, last = (str(known) for known in MACHINES)
            known = f"{', '.join(others)} and {last}"
            end = f"stacks of {self._architecture} programs are not supported, only of {known}"
        elif thread.registers is None:
            end = "its registers are not known"
        else:
            general = thread.registers.general
            registers = {
                number: general[name] for name, number in machine.numbers.items() if name in general
            }
            try:
                self._follow(machine, registers, frames)
                end = f"more than {FRAMES_MAX} frames"
            except _Outermost as reason:
                end, is_whole = str(reason), True
            except _Lost as reason:
                end = str(reason)
        return ThreadStack(thread.tid, thread.name, tuple(frames), end, is_whole)

    def _follow(self, machine: Machine, registers: dict[int, int], frames: list[Frame]) -> None:
        """Fills ``frames``; raises _Outermost or _Lost at the end."""
        pc_number, sp_number = machine.pc, machine.sp
        if pc_number not in registers or sp_number not in registers:
            raise _Lost("its registers are not known")
        trust, is_exact, scanned = FrameTrust.CONTEXT, True, 0
        while len(frames) < FRAMES_MAX:
            pc, stack_pointer = registers[pc_number], registers[sp_number]
            place = self._places.get((pc, is_exact))
            if place is None:
                place = self._places[pc, is_exact] = self._find_place(pc, is_exact=is_exact)
            mapped, entry, row, is_signal = place
            module = mapped.module if mapped is not None else None
            frames.append(Frame(pc, stack_pointer, trust, module, is_exact, is_signal))
            caller = self._step(machine, registers, mapped, entry, row, frames[-1])
            self._check(machine, registers, caller, frames[-1], len(frames))
            scanned = scanned + 1 if caller.trust is FrameTrust.SCAN else 0
            if scanned > SCANNED_MAX:
                raise _Lost(f"the last {SCANNED_MAX} frames were found by search alone")
            registers, trust, is_exact = caller.registers, caller.trust, caller.is_exact

    def _find_place(self, pc: int, *, is_exact: bool) -> _Place:
        """What is known of an instruction; cached, since recursion returns to it."""
        lookup = pc if is_exact else pc - 1
        mapped = self.modules.find(lookup)
        entry, row = self._find_row(mapped, lookup)
        if row is None and lookup != pc:
            entry, row = self._find_start(pc)
        is_signal = entry is not None and entry.common.is_signal_frame
        if row is None:
            code = self.modules.read(pc, TRAMPOLINE_BYTES)
            is_signal = is_signal or is_trampoline(self._architecture, code)
        return mapped, entry, row, is_signal

    def _find_row(
        self, mapped: MappedModule | None, lookup: int
    ) -> tuple[FunctionEntry | None, Row | None]:
        table = mapped.table if mapped is not None else None
        if mapped is None or table is None:
            return None, None
        return table.find(lookup - mapped.bias)

    def _find_start(self, pc: int) -> tuple[FunctionEntry | None, Row | None]:
        """For a function without a caller: its start was made a return address (makecontext)."""
        entry, row = self._find_row(mapped := self.modules.find(pc), pc)
        is_start = entry is not None and mapped is not None and entry.start == pc - mapped.bias
        return (entry, row) if is_start else (None, None)

    def _step(
        self,
        machine: Machine,
        registers: dict[int, int],
        mapped: MappedModule | None,
        entry: FunctionEntry | None,
        row: Row | None,
        frame: Frame,
    ) -> _Caller:
        if entry is not None and row is not None:
            try:
                return self._step_by_cfi(machine, registers, entry, row)
            except (LookupError, MalformedInput):
                pass  # what it needs is not known here; later methods need less
        elif frame.is_signal:
            try:
                interrupted = read_interrupted(machine, registers[machine.sp], self._read_word)
                return _Caller(interrupted, FrameTrust.CFI, is_exact=True)
            except LookupError as error:
                raise _Lost(_describe_hole(error)) from error
        if mapped is not None and mapped.functions is not None:
            found = self._step_by_functions(machine, registers, mapped, frame)
            if found is not None:
                return found
        if frame.is_exact and not self.modules.is_code(frame.pc):
            found = self._step_by_call(machine, registers, frame.pc)
            if found is not None:
                return found
        found = self._step_by_frame_pointer(machine, registers)
        return found if found is not None else self._step_by_search(machine, registers, frame)

    def _step_by_cfi(
        self, machine: Machine, registers: dict[int, int], entry: FunctionEntry, row: Row
    ) -> _Caller:
        """Raises LookupError for an unknown register or memory, MalformedInput, _Outermost."""
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
        address = caller.get(entry.common.return_register)
        if address is None or (machine.link is None and machine.pc not in row.rules):
            raise _Outermost("the outermost function")
        if row.is_address_signed:
            address &= machine.address_mask
        caller[machine.pc] = address
        return _Caller(caller, FrameTrust.CFI, is_exact=entry.common.is_signal_frame)

    def _step_by_functions(
        self, machine: Machine, registers: dict[int, int], mapped: MappedModule, frame: Frame
    ) -> _Caller | None:
        assert mapped.functions is not None
        address = frame.lookup_address - mapped.module.base
        try:
            caller, pc = mapped.functions.unwind(address, registers, self._read_word)
        except (LookupError, MalformedInput):
            return None
        if pc and not self.modules.is_code(pc):
            return None
        caller[machine.pc] = pc
        return _Caller(caller, FrameTrust.CFI)

    def _step_by_call(self, machine: Machine, registers: dict[int, int], pc: int) -> _Caller | None:
        """A call to an address without code: only the call itself has been executed.

        None if it got there by a return: the popped return address is still just below the stack's end.
        """
        if machine.link is not None:
            address = registers.get(machine.link, 0) & machine.address_mask
            if not self._is_return(machine, address):
                return None
            return _Caller({**registers, machine.pc: address}, FrameTrust.BAD_CALL)
        stack_pointer = registers[machine.sp]
        try:
            address = self._read_word(stack_pointer)
        except LookupError:
            return None
        if not self._is_return(machine, address) or self._has_returned(machine, stack_pointer, pc):
            return None
        if self._calls_another(address, pc):
            return None  # the function that was called there has jumped on, or returned
        caller = {
            **registers,
            machine.sp: stack_pointer + machine.word_bytes & _MASK,
            machine.pc: address,
        }
        return _Caller(caller, FrameTrust.BAD_CALL)

    def _calls_another(self, address: int, pc: int) -> bool:
        """The call before ``address`` has a fixed target, and that is not ``pc``."""
        code = self.modules.read(address - 5, 5)
        if len(code) < 5 or code[0] != 0xE8:
            return False
        return address + int.from_bytes(code[1:], "little", signed=True) & _MASK != pc

    def _has_returned(self, machine: Machine, stack_pointer: int, pc: int) -> bool:
        try:
            return pc != 0 and self._read_word(stack_pointer - machine.word_bytes) == pc
        except LookupError:
            return False

    def _step_by_frame_pointer(self, machine: Machine, registers: dict[int, int]) -> _Caller | None:
        pointer = registers.get(machine.fp, 0)
        if pointer < registers[machine.sp] or pointer % machine.word_bytes:
            return None
        try:
            saved = self._read_word(pointer)
            address = self._read_word(pointer + machine.word_bytes) & machine.address_mask
        except LookupError:
            return None
        if not saved and not address:
            raise _Outermost("the chain of frame pointers ends")
        if not self._is_return(machine, address):
            return None
        stack_pointer = pointer + 2 * machine.word_bytes & _MASK
        caller = {machine.fp: saved, machine.sp: stack_pointer, machine.pc: address}
        return _Caller(caller, FrameTrust.FRAME_POINTER)

    def _step_by_search(self, machine: Machine, registers: dict[int, int], frame: Frame) -> _Caller:
        """Raises _Lost if nothing looks like a return address."""
        words = SCAN_WORDS_FIRST if frame.trust is FrameTrust.CONTEXT else SCAN_WORDS
        step = machine.word_bytes
        start = -(-registers[machine.sp] // step) * step
        for place in range(start, start + step * words, step):
            try:
                address = self._read_word(place)
            except LookupError:
                if place == start:
                    raise _Lost(f"its stack at {place:#x} is not in the dump") from None
                break
            if self._is_return(machine, address):
                caller = {machine.sp: place + step, machine.pc: address}
                pointer = registers.get(machine.fp, 0)
                if pointer > place:
                    caller[machine.fp] = pointer
                return _Caller(caller, FrameTrust.SCAN)
        raise _Lost(_describe_gap(frame))

    def _check(
        self,
        machine: Machine,
        registers: dict[int, int],
        caller: _Caller,
        frame: Frame,
        depth: int,
    ) -> None:
        """Raises where walking a damaged or exhausted stack would not terminate."""
        pc = caller.registers[machine.pc]
        if not pc and not caller.is_exact:
            raise _Outermost("the outermost function")
        now, then = caller.registers[machine.sp], registers[machine.sp]
        is_leaf = machine.link is not None and depth == 1
        if not frame.is_signal and (now < then or (now == then and not is_leaf)):
            raise _Lost("the stack is damaged: it would continue below itself")
        if not caller.is_exact and not self.modules.is_code(pc - 1):
            raise _Lost(f"the next return address is {pc:#x}, which is not code")

    def _is_return(self, machine: Machine, address: int) -> bool:
        """Code, and after a call, if the code can be read."""
        known = self._returns.get(address)
        if known is None:
            known = False
            if self.modules.is_code(address - 1):
                size = machine.call_bytes
                code = self.modules.read(address - size, size)
                known = len(code) < size or machine.call.search(code) is not None
            self._returns[address] = known
        return known

    def _read_word(self, address: int) -> int:
        """Raises LookupError."""
        page = address & -_PAGE
        data = self._pages.get(page)
        if data is None:
            data = self._pages[page] = self._read(page, _PAGE)
        inside = address - page
        size = self._word.size
        if inside + size > len(data):  # an incomplete page, or a word across two
            data, inside = self._read(address, size), 0
            if len(data) < size:
                raise LookupError(address)
        return int(self._word.unpack_from(data, inside)[0])


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


def _describe_hole(error: LookupError) -> str:
    (address,) = error.args
    return f"its stack at {address:#x} is not in the dump"


def _describe_gap(frame: Frame) -> str:
    place = frame.module.path if frame.module is not None else "memory of no module"
    return (
        f"no frame information for {frame.pc:#x} in {place}, and nothing near looks like a caller"
    )
