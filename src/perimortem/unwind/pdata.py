"""Unwinding by the tables of x64 Windows: .pdata (functions) and .xdata (unwind codes).

Source: "x64 exception handling" (Microsoft): RUNTIME_FUNCTION, UNWIND_INFO, UNWIND_CODE.
Epilogues are not detected: a thread inside one is unwound as if before it, and the frame
found is accepted only if it is in code.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

from perimortem.binary.pe_image import EXCEPTION, PeImage
from perimortem.errors import MalformedInput
from perimortem.unwind.frame_data import ReadWord, Step

RAX, RSP, RBP = 0, 7, 6
_DWARF_OF_WINDOWS = (0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)
"""rax rcx rdx rbx rsp rbp rsi rdi r8 ..."""
_CHAINED = 4
_CHAIN_MAX = 32
_PUSH, _ALLOC_LARGE, _ALLOC_SMALL, _SET_FRAME, _SAVE, _SAVE_FAR = 0, 1, 2, 3, 4, 5
_SAVE_XMM, _SAVE_XMM_FAR, _PUSH_MACHINE = 8, 9, 10
_MASK = (1 << 64) - 1


class FunctionTable:
    """The functions of an image. Addresses are relative to its base."""

    def __init__(self, image: PeImage) -> None:
        self._image = image
        _, data = image.read_directory(EXCEPTION)
        table = array("I", data[: len(data) // 12 * 12])
        self._starts, self._ends, self._infos = table[0::3], table[1::3], table[2::3]

    def find(self, address: int) -> tuple[int, int] | None:
        """(start, address of its unwind info) of the function around ``address``."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._ends[index]:
            return None
        return self._starts[index], self._infos[index]

    def unwind(self, address: int, registers: dict[int, int], read_word: ReadWord) -> Step:
        """See :class:`FrameData`."""
        found = self.find(address)
        caller = dict(registers)
        if found is None:  # a function that changes nothing needs no entry
            caller[RSP] = registers[RSP] + 8 & _MASK
            return Step(caller, read_word(registers[RSP]))
        start, info = found
        offset = address - start
        for _ in range(_CHAIN_MAX):
            is_machine, chained = self._undo(info, offset, caller, read_word)
            if is_machine:
                return Step(caller, caller.pop(-1))
            if chained is None:
                stack_pointer = caller[RSP]
                caller[RSP] = stack_pointer + 8 & _MASK
                return Step(caller, read_word(stack_pointer))
            info, offset = chained, 1 << 32  # all of its codes count
        raise MalformedInput("unwind information without end")

    def _undo(
        self, at: int, offset: int, registers: dict[int, int], read_word: ReadWord
    ) -> tuple[bool, int | None]:
        """Undo one prologue; (a machine frame was found, the info that this one continues)."""
        head = self._image.read_address(at, 4)
        if len(head) < 4 or head[0] & 7 not in (1, 2):
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        flags, count, frame = head[0] >> 3, head[2], head[3]
        codes = self._image.read_address(at + 4, 2 * count)
        if len(codes) < 2 * count:
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        index = 0
        while index < count:
            place, code = codes[2 * index], codes[2 * index + 1]
            operation, argument = code & 0x0F, code >> 4
            operands = _operand_slots(operation, argument)
            values = codes[2 * index + 2 : 2 * (index + 1 + operands)]
            index += 1 + operands
            if place > offset or len(values) < 2 * operands:
                continue  # of the prologue, not yet executed
            if operation == _PUSH_MACHINE:
                base = registers[RSP] + 8 * argument
                registers[-1], registers[RSP] = read_word(base), read_word(base + 24)
                return True, None
            _undo_code(operation, argument, values, frame, registers, read_word)
        if flags & _CHAINED:
            raw = self._image.read_address(at + 4 + 2 * (count + 1 & ~1), 12)
            if len(raw) == 12:
                return False, struct.unpack("<III", raw)[2]
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        return False, None


def _operand_slots(operation: int, argument: int) -> int:
    """How many further codes hold its operand."""
    if operation == _ALLOC_LARGE:
        return 2 if argument else 1
    return {_SAVE: 1, _SAVE_FAR: 2, 6: 1, 7: 2, _SAVE_XMM: 1, _SAVE_XMM_FAR: 2}.get(operation, 0)


def _undo_code(
    operation: int,
    argument: int,
    values: bytes,
    frame: int,
    registers: dict[int, int],
    read_word: ReadWord,
) -> None:
    if operation == _PUSH:
        stack_pointer = registers[RSP]
        registers[_DWARF_OF_WINDOWS[argument]] = read_word(stack_pointer)
        registers[RSP] = stack_pointer + 8 & _MASK
    elif operation == _ALLOC_LARGE:
        size = int.from_bytes(values, "little") * (1 if argument else 8)
        registers[RSP] = registers[RSP] + size & _MASK
    elif operation == _ALLOC_SMALL:
        registers[RSP] = registers[RSP] + 8 * argument + 8 & _MASK
    elif operation == _SET_FRAME:
        base = registers[_DWARF_OF_WINDOWS[frame & 0x0F]]
        registers[RSP] = base - 16 * (frame >> 4) & _MASK
    elif operation in (_SAVE, _SAVE_FAR):
        place = int.from_bytes(values, "little") * (8 if operation == _SAVE else 1)
        registers[_DWARF_OF_WINDOWS[argument]] = read_word(registers[RSP] + place & _MASK)
