"""Which module an address belongs to, and that module's image and frame information."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

from perimortem.binary.elf import EM_ARM
from perimortem.binary.elf_image import ElfImage
from perimortem.binary.pe_image import PeImage
from perimortem.binary.regions import list_code
from perimortem.model.snapshot import Module, Snapshot
from perimortem.unwind.dwarf.table import UnwindTable
from perimortem.unwind.exidx import ExceptionIndex
from perimortem.unwind.frame_data import FrameData
from perimortem.unwind.machine import Machine
from perimortem.unwind.pdata import FunctionTable
from perimortem.unwind.stack_records import StackRecords

Image = ElfImage | PeImage
FindImage = Callable[[Module], Image | None]
"""The file of a module, if available and identical; the provider knows why not."""


class SymbolFile(Protocol):
    """A symbol file, as far as unwinding needs it."""

    @property
    def stack_records(self) -> Sequence[str]:
        """Its STACK records, each without that word."""
        ...

    def find(self, address: int) -> object | None:
        """The function around an address that is relative to the module's base."""
        ...


FindSymbolFile = Callable[[Module], SymbolFile | None]
"""The symbol file of a module, if there is one."""


class MappedModule:
    """A module with its unwind data, opened on first use."""

    def __init__(
        self,
        module: Module,
        find_image: FindImage,
        find_symbol_file: FindSymbolFile,
        machine: Machine | None,
    ) -> None:
        self.module = module
        self._find_image, self._find_symbol_file = find_image, find_symbol_file
        self._machine = machine

    @cached_property
    def image(self) -> Image | None:
        return self._find_image(self.module)

    @cached_property
    def bias(self) -> int:
        """The difference between load addresses and the image's own."""
        image = self.image
        return self.module.base - (image.preferred_base if image is not None else 0)

    @cached_property
    def table(self) -> UnwindTable | None:
        """For an ELF image."""
        return self.image.derive(UnwindTable) if isinstance(self.image, ElfImage) else None

    @cached_property
    def frame_data(self) -> tuple[FrameData, ...]:
        """Other descriptions of its functions: of its image, and of its symbol file."""
        found: list[FrameData] = []
        image = self.image
        if isinstance(image, PeImage) and image.has_exception_table:
            found.append(FunctionTable(image))
        elif isinstance(image, ElfImage) and image.machine == EM_ARM:
            found.append(image.derive(ExceptionIndex))
        symbols = self.symbol_file
        if symbols is not None and symbols.stack_records and self._machine is not None:
            found.append(StackRecords(symbols.stack_records, self._machine))
        return tuple(found)

    @cached_property
    def symbol_file(self) -> SymbolFile | None:
        return self._find_symbol_file(self.module)

    def may_be_function(self, address: int) -> bool:
        """False if its symbol file knows no function there."""
        symbols = self.symbol_file
        return symbols is None or symbols.find(address - self.module.base) is not None


class ModuleMap:
    """The modules of a snapshot by address."""

    def __init__(
        self,
        snapshot: Snapshot,
        find_image: FindImage,
        find_symbol_file: FindSymbolFile,
        machine: Machine | None,
    ) -> None:
        self._modules = sorted(
            (
                MappedModule(module, find_image, find_symbol_file, machine)
                for module in snapshot.modules
                if module.size > 0
            ),
            key=lambda mapped: mapped.module.base,
        )
        self._starts = [mapped.module.base for mapped in self._modules]
        code = list_code(snapshot.regions)
        self._code_starts = [start for start, _ in code]
        self._code_ends = [end for _, end in code]
        self._snapshot = snapshot

    def find(self, address: int) -> MappedModule | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        mapped = self._modules[index]
        return mapped if address < mapped.module.base + mapped.module.size else None

    def is_code(self, address: int) -> bool:
        """It is in executable memory; for dumps without that information, in a module."""
        if not self._code_starts:
            return self.find(address) is not None
        index = bisect_right(self._code_starts, address) - 1
        return index >= 0 and address < self._code_ends[index]

    def read(self, address: int, size: int) -> bytes:
        """Memory; parts missing in the dump that cannot have changed come from the module's file."""
        data = self._snapshot.content.read(address, size)
        if len(data) == size:
            return data
        mapped = self.find(address)
        if mapped is None or mapped.image is None:
            return data
        return mapped.image.read_constant(address - mapped.bias, size) or data
