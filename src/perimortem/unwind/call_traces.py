"""Callers without frame information, by the traces that a call leaves in registers and on the stack.

The link register, or the return address where the call put it; the chain of frame pointers; a search of
the stack for what looks like a return address.

Folklore: a function that makes no frame leaves the frame pointer to its caller, or to a caller of that:
then the chain of frame pointers skips frames, which the search finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from perimortem.model.stack import Frame, FrameTrust
from perimortem.unwind.caller import Caller, Lost, Outermost
from perimortem.unwind.machine import Machine
from perimortem.unwind.module_map import ModuleMap
from perimortem.unwind.words import Words

SCAN_WORDS_FIRST, SCAN_WORDS = 512, 128
"""How far a return address is searched for: from the innermost frame, and from others. Arbitrary."""
_FUNCTION_MAX = 64 << 10
"""An instruction further behind its start is taken to be of another function. Arbitrary."""
_SAME_FUNCTION = 4 << 10
"""A link register that points so near was set by a call out of this function. Arbitrary."""
_FRAME_MAX = 128 << 10
"""A saved frame pointer that leads further is taken to be something else. Arbitrary."""
_MASK = (1 << 64) - 1


class CallTraces:
    """Finds the caller of a frame of one machine."""

    def __init__(self, machine: Machine, modules: ModuleMap, words: Words) -> None:
        self._machine, self._modules = machine, modules
        self._read_word = words.read
        self._returns: dict[int, bool] = {}

    def find(self, registers: dict[int, int], frame: Frame) -> Caller:
        """Raises Outermost, or Lost if nothing looks like a caller."""
        found = None
        if frame.is_exact:
            is_code = self._modules.is_code(frame.pc)
            found = (
                self._find_by_link(registers, frame.pc)
                if is_code
                else self._find_by_call(registers, frame.pc)
            )
        if found is None:
            found = self._find_by_frame_pointer(registers, frame)
        return found if found is not None else self._search(registers, frame)

    def _find_by_call(self, registers: dict[int, int], pc: int) -> Caller | None:
        """A call to an address without code: only the call itself has been executed.

        None if it got there by a return: the popped return address is still just below the stack's end.
        """
        machine = self._machine
        if machine.link is not None:
            address = registers.get(machine.link, 0) & machine.address_mask
            if not self.is_return(address):
                return None
            return Caller({**registers, machine.pc: address}, FrameTrust.BAD_CALL)
        stack_pointer = registers[machine.sp]
        try:
            address = self._read_word(stack_pointer)
        except LookupError:
            return None
        if not self.is_return(address) or self._has_returned(stack_pointer, pc):
            return None
        target = self._find_target(address)
        if target is not None and target != pc:
            return None  # the function that was called there has jumped on, or returned
        caller = {
            **registers,
            machine.sp: stack_pointer + machine.word_bytes & _MASK,
            machine.pc: address,
        }
        return Caller(caller, FrameTrust.BAD_CALL)

    def _has_returned(self, stack_pointer: int, pc: int) -> bool:
        try:
            return pc != 0 and self._read_word(stack_pointer - self._machine.word_bytes) == pc
        except LookupError:
            return False

    def _find_by_link(self, registers: dict[int, int], pc: int) -> Caller | None:
        """A function that calls nothing keeps its return address in the link register.

        One that has called something has an address in itself there, after that call.
        """
        machine = self._machine
        if machine.link is None or machine.link not in registers:
            return None
        address = registers[machine.link] & machine.address_mask
        if not self.is_return(address) or abs(address - pc) < _SAME_FUNCTION:
            return None
        target = self._find_target(address)
        if target is not None and not target <= pc < target + _FUNCTION_MAX:
            return None
        return Caller({**registers, machine.pc: address}, FrameTrust.LINK_REGISTER)

    def _find_by_frame_pointer(self, registers: dict[int, int], frame: Frame) -> Caller | None:
        machine = self._machine
        word = machine.word_bytes
        pointer = registers.get(machine.fp, 0)
        stack_pointer = registers[machine.sp]
        if pointer < stack_pointer or pointer % word:
            return None
        try:
            saved = self._read_word(pointer)
            address = self._read_word(pointer + word) & machine.address_mask
        except LookupError:
            return None
        skipped = self._find_skipped(registers, frame, address, saved)
        if skipped is not None:
            return skipped
        if not saved and not address:
            raise Outermost("the chain of frame pointers ends")
        if not self.is_return(address):
            return None
        caller = {machine.fp: saved, machine.sp: pointer + 2 * word & _MASK, machine.pc: address}
        return Caller(caller, FrameTrust.FRAME_POINTER)

    def _find_skipped(
        self, registers: dict[int, int], frame: Frame, address: int, saved: int
    ) -> Caller | None:
        """A frame between this one and that to which the frame pointer leads.

        A word there that looks like a return address may be one of an earlier call. It counts if its
        call goes to the function that this frame is in, as far as known, and the other's does not; or if
        the chain of frame pointers breaks at the next link.
        """
        machine = self._machine
        pointer = registers[machine.fp]
        pc = frame.lookup_address
        is_broken = saved != 0 and not self._is_on_stack(saved, above=pointer)
        start = self._find_target(address) if self.is_return(address) else None
        known = start if start is not None and start <= pc else None
        if known is not None and pc - known < _FUNCTION_MAX and not is_broken:
            return None
        for place, candidate in self._list_returns(registers, frame, before=pointer):
            target = self._find_target(candidate)
            # A call from between its target and here is of another function, or goes to one.
            calls_this = (
                target is not None
                and 0 <= pc - target < _FUNCTION_MAX
                and not target <= candidate <= frame.pc
            )
            if calls_this or (is_broken and target is None):
                return self._make_scanned(registers, place, candidate)
        return None

    def _is_on_stack(self, pointer: int, *, above: int) -> bool:
        if pointer <= above:
            return False
        try:
            self._read_word(pointer)
        except LookupError:
            return False
        return True

    def _search(self, registers: dict[int, int], frame: Frame) -> Caller:
        """Raises Lost if nothing looks like a return address."""
        start = self._align(registers[self._machine.sp])
        try:
            self._read_word(start)
        except LookupError:
            raise Lost(f"its stack at {start:#x} is not in the dump") from None
        for place, address in self._list_returns(registers, frame, before=1 << 64):
            return self._make_scanned(registers, place, address)
        raise Lost(_describe_gap(frame))

    def _make_scanned(self, registers: dict[int, int], place: int, address: int) -> Caller:
        machine = self._machine
        caller = {machine.sp: place + machine.word_bytes, machine.pc: address}
        pointer = registers.get(machine.fp, 0)
        if pointer > place:
            caller[machine.fp] = pointer
        elif (saved := self._find_saved(place)) is not None:
            caller[machine.fp] = saved
        return Caller(caller, FrameTrust.SCAN)

    def _find_saved(self, place: int) -> int | None:
        """The frame pointer that a function saved next to its return address, if its chain goes on."""
        word = self._machine.word_bytes
        try:
            saved = self._read_word(place - word)
            if not place < saved <= place + _FRAME_MAX or saved % word:
                return None
            address = self._read_word(saved + word) & self._machine.address_mask
        except LookupError:
            return None
        return saved if self.is_return(address) else None

    def _list_returns(
        self, registers: dict[int, int], frame: Frame, *, before: int
    ) -> Iterator[tuple[int, int]]:
        """(place, address) of each word from the stack pointer on that looks like a return address."""
        machine = self._machine
        words = SCAN_WORDS_FIRST if frame.trust is FrameTrust.CONTEXT else SCAN_WORDS
        start = self._align(registers[machine.sp])
        end = min(before, start + machine.word_bytes * words)
        for place in range(start, end, machine.word_bytes):
            try:
                address = self._read_word(place) & machine.address_mask
            except LookupError:
                return
            if frame.trust is FrameTrust.LINK_REGISTER and address == frame.pc:
                continue  # the function below has saved it
            if self.is_return(address):
                yield place, address

    def _align(self, address: int) -> int:
        word = self._machine.word_bytes
        return -(-address // word) * word

    def is_return(self, address: int) -> bool:
        """Code after a call; where it cannot be read, in a function of a module, as far as known."""
        known = self._returns.get(address)
        if known is None:
            known = self._returns[address] = self._is_return(address)
        return known

    def _is_return(self, address: int) -> bool:
        if not self._modules.is_code(address - 1):
            return False
        size = self._machine.call_bytes
        code = self._modules.read(address - size, size)
        if len(code) < size:
            mapped = self._modules.find(address - 1)
            return mapped is not None and mapped.may_be_function(address - 1)
        return self._machine.call.search(code) is not None

    def _find_target(self, address: int) -> int | None:
        """Where the call before ``address`` goes, if that is fixed, and the code can be read."""
        size = self._machine.call_bytes
        return self._machine.find_target(self._modules.read(address - size, size), address)


def _describe_gap(frame: Frame) -> str:
    place = frame.module.path if frame.module is not None else "memory of no module"
    return (
        f"no frame information for {frame.pc:#x} in {place}, and nothing near looks like a caller"
    )
