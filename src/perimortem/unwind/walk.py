"""From the registers of a thread to its frames. Pure: memory and images are passed in.

Each frame records how it was found. Folklore: the return address after a call that never returns may be
in the next function: every frame but an interrupted one is looked up a byte before. A pc of 0 is a legal
frame above a signal (a call through a null pointer). Stacks never shrink on the way out, except for
alternate signal stacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from perimortem.model.snapshot import Registers, Snapshot, Thread
from perimortem.model.stack import Frame, FrameTrust, ThreadStack
from perimortem.unwind.caller import Caller, Lost, Outermost
from perimortem.unwind.machine import MACHINES, Machine
from perimortem.unwind.module_map import FindImage, FindSymbolFile, ModuleMap
from perimortem.unwind.place import Places
from perimortem.unwind.step import Stepper
from perimortem.unwind.words import Words

FRAMES_MAX = 1_000_000
"""A stack of 8 MiB has at most half of it."""
SCANNED_MAX = 32
"""Consecutive frames found by search only: what follows is guesswork. Arbitrary."""


class StackWalker:
    """Walks the stacks of one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        find_image: FindImage,
        find_symbol_file: FindSymbolFile = lambda _: None,
    ) -> None:
        """``find_image``: the file of a module, or None; ``find_symbol_file``: likewise."""
        architecture = snapshot.system.architecture
        self.machine = machine = MACHINES.get(architecture)
        self.modules = ModuleMap(snapshot, find_image, find_symbol_file, machine)
        self._snapshot = snapshot
        self._stacks = None
        if machine is not None:
            places = Places(architecture, self.modules)
            self._stacks = _MachineStacks(machine, self.modules, places, snapshot)

    def walk_all(self) -> Iterator[ThreadStack]:
        """For every thread, in the snapshot's order."""
        return (self.walk(thread) for thread in self._snapshot.threads)

    def walk(self, thread: Thread) -> ThreadStack:
        """Never raises: a stack that cannot be walked says why."""
        frames: list[Frame] = []
        is_whole = False
        if self._stacks is None:
            *others, last = (str(known) for known in MACHINES)
            known = f"{', '.join(others)} and {last}"
            there = self._snapshot.system.architecture
            end = f"stacks of {there} programs are not supported, only of {known}"
        elif thread.registers is None:
            end = "its registers are not known"
        else:
            try:
                self._stacks.follow(thread.registers, frames)
                end = f"more than {FRAMES_MAX} frames"
            except Outermost as reason:
                end, is_whole = str(reason), True
            except Lost as reason:
                end = str(reason)
        return ThreadStack(thread.tid, thread.name, tuple(frames), end, is_whole)

    def list_registers(self, thread: Thread, limit: int) -> dict[int, dict[str, int]]:
        """By the stack pointer of a frame: its registers, as far as they could be recovered."""
        if self._stacks is None or thread.registers is None:
            return {}
        kept: list[dict[int, int]] = []
        with suppress(Outermost, Lost):
            self._stacks.follow(thread.registers, [], limit, kept)
        names = {number: name for name, number in self._stacks.machine.numbers.items()}
        return {
            registers[self._stacks.machine.sp]: {
                names[number]: value for number, value in registers.items() if number in names
            }
            for registers in kept
        }


class _MachineStacks:
    """Stacks of a machine that is known here."""

    def __init__(
        self, machine: Machine, modules: ModuleMap, places: Places, snapshot: Snapshot
    ) -> None:
        self.machine, self._modules, self._places = machine, modules, places
        words = Words(snapshot.content.read, machine.word_bytes)
        self._stepper = Stepper(machine, modules, words)

    def follow(
        self,
        known: Registers,
        frames: list[Frame],
        limit: int = FRAMES_MAX,
        kept: list[dict[int, int]] | None = None,
    ) -> None:
        """Fills ``frames``, and ``kept`` with their registers; raises Outermost or Lost at the end."""
        machine = self.machine
        general = known.general
        registers = {n: general[name] for name, n in machine.numbers.items() if name in general}
        pc_number, sp_number = machine.pc, machine.sp
        if pc_number not in registers or sp_number not in registers:
            raise Lost("its registers are not known")
        trust, is_exact, scanned = FrameTrust.CONTEXT, True, 0
        while len(frames) < limit:
            if kept is not None:
                kept.append(registers)
            pc, stack_pointer = registers[pc_number], registers[sp_number]
            place = self._places.find(pc, is_exact=is_exact)
            module = place.mapped.module if place.mapped is not None else None
            frame = Frame(pc, stack_pointer, trust, module, is_exact, place.is_signal)
            frames.append(frame)
            caller = self._stepper.step(registers, place, frame)
            self._check(registers, caller, frame, len(frames))
            scanned = scanned + 1 if caller.trust is FrameTrust.SCAN else 0
            if scanned > SCANNED_MAX:
                raise Lost(f"the last {SCANNED_MAX} frames were found by search alone")
            registers, trust, is_exact = caller.registers, caller.trust, caller.is_exact

    def _check(self, registers: dict[int, int], caller: Caller, frame: Frame, depth: int) -> None:
        """Raises where walking a damaged or exhausted stack would not terminate."""
        machine = self.machine
        pc = caller.registers[machine.pc]
        if not pc and not caller.is_exact:
            raise Outermost("the outermost function")
        now, then = caller.registers[machine.sp], registers[machine.sp]
        is_leaf = machine.link is not None and (depth == 1 or frame.is_exact)
        if not frame.is_signal and (now < then or (now == then and not is_leaf)):
            raise Lost("the stack is damaged: it would continue below itself")
        if not caller.is_exact and not self._modules.is_code(pc - 1):
            raise Lost(f"the next return address is {pc:#x}, which is not code")
