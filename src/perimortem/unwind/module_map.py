"""Which module an address belongs to, and that module's image and frame information."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from perimortem.binary.elf_image import ElfImage
from perimortem.binary.pe_image import PeImage
from perimortem.binary.regions import list_code
from perimortem.model.snapshot import Module, Snapshot
from perimortem.unwind.dwarf.table import UnwindTable
from perimortem.unwind.pdata import FunctionTable

Image = ElfImage | PeImage
FindImage = Callable[[Module], Image | None]
"""The file of a module, if available and identical; the provider knows why not."""


@dataclass
class MappedModule:
    """A module with its unwind data, opened on first use."""

    module: Module
    _find_image: FindImage
    _image: Image | None = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)
    _functions: FunctionTable | None = field(default=None, init=False)

    @property
    def image(self) -> Image | None:
        if not self._is_open:
            self._image = self._find_image(self.module)
            self._is_open = True
        return self._image

    @property
    def bias(self) -> int:
        """The difference between load addresses and the image's own."""
        image = self.image
        return self.module.base - (image.preferred_base if image is not None else 0)

    @property
    def table(self) -> UnwindTable | None:
        """For an ELF image."""
        return self.image.derive(UnwindTable) if isinstance(self.image, ElfImage) else None

    @property
    def functions(self) -> FunctionTable | None:
        """For a PE image."""
        if self._functions is None and isinstance(self.image, PeImage):
            self._functions = FunctionTable(self.image)
        return self._functions


class ModuleMap:
    """The modules of a snapshot by address."""

    def __init__(self, snapshot: Snapshot, find_image: FindImage) -> None:
        self._modules = sorted(
            (MappedModule(module, find_image) for module in snapshot.modules if module.size > 0),
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
