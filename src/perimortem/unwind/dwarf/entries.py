"""The entries of .eh_frame and .debug_frame: common information (CIE) and functions (FDE).

Source: DWARF 5, 6.4.1; LSB for the augmentations of .eh_frame.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from perimortem.errors import MalformedInput
from perimortem.unwind.dwarf.encoding import (
    OMITTED,
    read_encoded,
    read_sleb128,
    read_uleb128,
)

_CIE_OF_DEBUG_FRAME = 0xFFFFFFFF
_LONG_FORM = 0xFFFFFFFF
_ADDRESS = 0x00
"""DW_EH_PE_absptr: as long as an address is."""
_ADDRESS_OF_FOUR_BYTES = 0x03
"""DW_EH_PE_udata4."""


@dataclass(frozen=True, slots=True)
class CommonEntry:
    """A CIE: what many functions share."""

    code_alignment: int
    data_alignment: int
    return_register: int
    pointer_encoding: int
    is_signal_frame: bool
    has_augmentation: bool
    program: bytes


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """An FDE: the code from ``start`` to ``end``, and the program that describes its frame."""

    common: CommonEntry
    start: int
    end: int
    program: bytes
    program_address: int
    """The address of the program, for pointers relative to their place."""


class EntrySection:
    """.eh_frame or .debug_frame: ``data``, found at ``address`` in memory."""

    def __init__(
        self, data: bytes, address: int, *, is_debug_frame: bool, word_bytes: int = 8
    ) -> None:
        self.data, self.address = data, address
        self._absolute = _ADDRESS if word_bytes == 8 else _ADDRESS_OF_FOUR_BYTES
        self._is_debug = is_debug_frame
        self._commons: dict[int, CommonEntry] = {}

    def read_entry(self, at: int) -> tuple[FunctionEntry | None, int]:
        """The entry at offset ``at`` (None for a CIE), and where the next one is.

        At the end (a length of zero) the next one is ``at`` itself. Raises MalformedInput.
        """
        try:
            return self._read_entry(at)
        except (IndexError, KeyError, ValueError, struct.error) as error:
            raise MalformedInput(f"damaged frame information at {self.address + at:#x}") from error

    def _read_entry(self, at: int) -> tuple[FunctionEntry | None, int]:
        start, end = self._read_length(at)
        if end == at:
            return None, at
        (pointer,) = struct.unpack_from("<I", self.data, start)
        if pointer == (_CIE_OF_DEBUG_FRAME if self._is_debug else 0):
            return None, end
        common = self._find_common(pointer if self._is_debug else start - pointer)
        at = start + 4
        encoding = common.pointer_encoding
        begin, at = read_encoded(self.data, at, encoding, self.address + at)
        size, at = read_encoded(self.data, at, encoding & 0x0F, 0)
        if common.has_augmentation:
            length, at = read_uleb128(self.data, at)
            at += length
        if at > end:
            raise IndexError
        program = self.data[at:end]
        return FunctionEntry(common, begin, begin + size, program, self.address + at), end

    def _read_length(self, at: int) -> tuple[int, int]:
        """(offset of the contents, offset after them)."""
        (length,) = struct.unpack_from("<I", self.data, at)
        if not length:
            return at, at
        start = at + 4
        if length == _LONG_FORM:
            (length,) = struct.unpack_from("<Q", self.data, start)
            start += 8
        if start + length > len(self.data):
            raise IndexError
        return start, start + length

    def _find_common(self, at: int) -> CommonEntry:
        found = self._commons.get(at)
        if found is None:
            if at < 0:
                raise IndexError
            found = self._commons[at] = self._read_common(at)
        return found

    def _read_common(self, at: int) -> CommonEntry:
        data = self.data
        start, end = self._read_length(at)
        version = data[start + 4]
        zero = data.index(b"\0", start + 5, end)
        augmentation = data[start + 5 : zero]
        at = zero + 1
        if version >= 4:
            at += 2  # address size, segment size
        code_alignment, at = read_uleb128(data, at)
        data_alignment, at = read_sleb128(data, at)
        if version == 1:
            return_register, at = data[at], at + 1
        else:
            return_register, at = read_uleb128(data, at)
        encoding, is_signal = self._absolute, False
        has_augmentation = augmentation.startswith(b"z")
        if has_augmentation:
            length, at = read_uleb128(data, at)
            encoding, is_signal = self._read_augmentation(augmentation[1:], at)
            at += length
        return CommonEntry(
            code_alignment, data_alignment, return_register, encoding, is_signal,
            has_augmentation, data[at:end],
        )  # fmt: skip

    def _read_augmentation(self, letters: bytes, at: int) -> tuple[int, bool]:
        encoding, is_signal = self._absolute, False
        for letter in letters:
            if letter == ord("R"):
                encoding, at = self._size_address(self.data[at]), at + 1
            elif letter == ord("L"):
                at += 1
            elif letter == ord("P"):
                kind = self._size_address(self.data[at])
                _, at = read_encoded(self.data, at + 1, kind, self.address + at + 1)
            elif letter == ord("S"):
                is_signal = True
        return (self._absolute if encoding == OMITTED else encoding), is_signal

    def _size_address(self, encoding: int) -> int:
        """The same encoding, with the size of an address said."""
        return encoding if encoding == OMITTED or encoding & 0x0F else encoding | self._absolute
