"""Words of a snapshot's memory, page by page: a stack is read in small steps."""

from __future__ import annotations

import struct
from collections.abc import Callable

_PAGE = 4096


class Words:
    """Reads one word; the pages that it has read are kept."""

    def __init__(self, read: Callable[[int, int], bytes], word_bytes: int) -> None:
        """``read(address, size)``: fewer bytes where memory is missing."""
        self._memory = read
        self._word = struct.Struct("<I" if word_bytes == 4 else "<Q")
        self._pages: dict[int, bytes] = {}

    def read(self, address: int) -> int:
        """Raises LookupError."""
        page = address & -_PAGE
        data = self._pages.get(page)
        if data is None:
            data = self._pages[page] = self._memory(page, _PAGE)
        inside = address - page
        size = self._word.size
        if inside + size > len(data):  # an incomplete page, or a word across two
            data, inside = self._memory(address, size), 0
            if len(data) < size:
                raise LookupError(address)
        return int(self._word.unpack_from(data, inside)[0])
