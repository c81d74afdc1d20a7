"""A dump compressed on the fly: zstd in frames of 1 MiB, with the seek table of its seekable format.

``zstd -d`` unpacks it like any other file; we read any part of it without unpacking the rest. The head
of a dump is written last: space is reserved for it, and the unused part becomes a skippable frame.
"""

from __future__ import annotations

import os
import struct
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import Any

from perimortem.errors import MalformedInput, PerimortemError

FRAME_BYTES = 1 << 20
_LEVEL = 1
_SKIPPABLE_MAGIC = 0x184D2A50
_SEEK_TABLE_MAGIC = 0x184D2A5E
_SKIPPABLE_HEAD = struct.Struct("<II")
_SEEK_FOOTER = struct.Struct("<IBI")
_SEEKABLE_MAGIC = 0x8F92EAB1
_HAS_CHECKSUMS = 0x80
_FRAMES_MAX = 1 << 22
_CACHED_FRAMES = 8
_FRAME_BYTES_MAX = 8 << 20
"""For a frame that another program compressed."""
_THREADS_MAX = 4

WriteAt = Callable[[bytes | memoryview, int], None]
"""write(data, offset), completely. Raises OSError."""
ReadAt = Callable[[int, int], bytes]


def load_zstandard() -> Any:
    """The library. Raises :class:`PerimortemError` with the remedy."""
    try:
        import zstandard
    except ImportError as error:
        raise PerimortemError(
            "zstd needs a library that is not installed",
            remedy="pip install 'perimortem[zstd]'",
        ) from error
    return zstandard


class CompressedWriter:
    """An output of dump writers: seek past the head, write memory, seek to 0, write the head, finish."""

    def __init__(self, write_at: WriteAt, on_progress: Callable[[int], None] | None = None) -> None:
        self._zstandard = load_zstandard()
        self._of_thread = threading.local()
        threads = max(1, min(_THREADS_MAX, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(threads)
        self._under_way: deque[tuple[Future[bytes], int]] = deque()
        self._under_way_max = 2 * threads
        self._write_at = write_at
        self._on_progress = on_progress
        self._at = 0
        self._memory_at = 0
        self._room = 0
        self._file_at = 0
        self._pending = bytearray()
        self._head = bytearray()
        self._is_head = False
        self._frames: list[tuple[int, int]] = []
        self._zeros = b""

    def write(self, data: bytes | memoryview, /) -> int:
        if self._is_head:
            self._head += data
        else:
            self._pending += data
            self._flush(FRAME_BYTES)
        self._at += len(data)
        if self._on_progress is not None and not self._is_head:
            self._on_progress(self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == 1:
            self._add_zeros(offset)
            self._at += offset
        elif offset == 0:
            self._is_head, self._at = True, 0
        else:  # the space reserved for the head
            self._memory_at = self._at = offset
            self._room = self._file_at = _bound(offset) + _SKIPPABLE_HEAD.size
        return self._at

    def tell(self) -> int:
        return self._at

    def finish(self) -> int:
        """The size of the file. Raises OSError."""
        self._flush(1)
        self._take_frames(0)
        self._pool.shutdown()
        head = self._compress(bytes(self._head.ljust(self._memory_at, b"\0")))
        rest = self._room - len(head) - _SKIPPABLE_HEAD.size
        self._write_at(head + _SKIPPABLE_HEAD.pack(_SKIPPABLE_MAGIC, rest), 0)
        skipped = (rest + _SKIPPABLE_HEAD.size, 0)
        table = [(len(head), self._memory_at), skipped, *self._frames]
        entries = b"".join(struct.pack("<II", *entry) for entry in table)
        footer = _SEEK_FOOTER.pack(len(table), 0, _SEEKABLE_MAGIC)
        size = len(entries) + len(footer)
        self._write_at(
            _SKIPPABLE_HEAD.pack(_SEEK_TABLE_MAGIC, size) + entries + footer, self._file_at
        )
        return self._file_at + _SKIPPABLE_HEAD.size + size

    def _flush(self, least: int) -> None:
        while len(self._pending) >= least:
            self._put_frame(bytes(self._pending[:FRAME_BYTES]))
            del self._pending[:FRAME_BYTES]

    def close(self) -> None:
        """Leave it unfinished."""
        self._pool.shutdown(cancel_futures=True)

    def _compress(self, data: bytes) -> bytes:
        """A compressor may not be shared between threads."""
        compressor = getattr(self._of_thread, "compressor", None)
        if compressor is None:
            compressor = self._zstandard.ZstdCompressor(level=_LEVEL)
            self._of_thread.compressor = compressor
        return bytes(compressor.compress(data))

    def _put_frame(self, data: bytes) -> None:
        self._under_way.append((self._pool.submit(self._compress, data), len(data)))
        self._take_frames(self._under_way_max)

    def _take_frames(self, left: int) -> None:
        """Write what is ready, in order, until only this many are in progress."""
        while len(self._under_way) > left:
            future, size = self._under_way.popleft()
            self._write_frame(future.result(), size)

    def _write_frame(self, frame: bytes, size: int) -> None:
        self._write_at(frame, self._file_at)
        self._file_at += len(frame)
        self._frames.append((len(frame), size))

    def _add_zeros(self, size: int) -> None:
        filling = min(size, -len(self._pending) % FRAME_BYTES)
        self._pending += bytes(filling)
        self._flush(FRAME_BYTES)
        size -= filling
        if size >= FRAME_BYTES and not self._zeros:
            self._zeros = self._compress(bytes(FRAME_BYTES))
        if size >= FRAME_BYTES:
            self._take_frames(0)
        while size >= FRAME_BYTES:
            self._write_frame(self._zeros, FRAME_BYTES)
            size -= FRAME_BYTES
        self._pending += bytes(size)


class CompressedReader:
    """Any part of the uncompressed data, by the seek table at the end of the file."""

    def __init__(self, read: ReadAt, size: int) -> None:
        """Raises :class:`MalformedInput` if there is no seek table, PerimortemError without zstd."""
        self._read_file = read
        self._decompress = load_zstandard().ZstdDecompressor().decompress
        footer = (
            read(size - _SEEK_FOOTER.size, _SEEK_FOOTER.size) if size > _SEEK_FOOTER.size else b""
        )
        if len(footer) < _SEEK_FOOTER.size or _SEEK_FOOTER.unpack(footer)[2] != _SEEKABLE_MAGIC:
            raise MalformedInput(
                "a compressed file without a seek table",
                why="it was truncated, or another program compressed it",
                remedy="unpack it first: zstd -d",
            )
        count, descriptor, _ = _SEEK_FOOTER.unpack(footer)
        entry_size = 12 if descriptor & _HAS_CHECKSUMS else 8
        table_at = size - _SEEK_FOOTER.size - count * entry_size
        if count > _FRAMES_MAX or table_at < 0:
            raise MalformedInput("the seek table is damaged", why=f"it claims {count} frames")
        raw = read(table_at, count * entry_size)
        if len(raw) != count * entry_size:
            raise MalformedInput("the seek table is truncated")
        entries = [struct.unpack_from("<II", raw, at) for at in range(0, len(raw), entry_size)]
        self._file_offsets = [0, *accumulate(packed for packed, _ in entries)]
        self._offsets = [0, *accumulate(unpacked for _, unpacked in entries)]
        self._sizes = [unpacked for _, unpacked in entries]
        if self._file_offsets[-1] > size or any(s > _FRAME_BYTES_MAX for s in self._sizes):
            raise MalformedInput("the seek table is damaged", why="its frames lie outside the file")
        self._cache: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Uncompressed, in bytes."""
        return int(self._offsets[-1])

    def read(self, offset: int, size: int) -> bytes:
        """Fewer bytes at the end. Raises :class:`MalformedInput`."""
        parts: list[bytes] = []
        end = min(offset + size, self.size)
        while offset < end:
            index = bisect_right(self._offsets, offset) - 1
            start = offset - self._offsets[index]
            part = self._unpack(index)[start : start + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _unpack(self, index: int) -> bytes:
        data = self._cache.get(index)
        if data is None:
            at, end = self._file_offsets[index], self._file_offsets[index + 1]
            zstandard, size = load_zstandard(), self._sizes[index]
            packed = self._read_file(at, end - at)
            try:
                # What a frame claims is allocated: only what the table allows.
                if zstandard.frame_content_size(packed) not in (-1, size):
                    raise MalformedInput("a compressed part is damaged", why="its size is wrong")
                data = bytes(self._decompress(packed, max_output_size=size))
            except zstandard.ZstdError as error:
                raise MalformedInput("a compressed part is damaged", why=str(error)) from error
            if len(data) != size:
                raise MalformedInput("a compressed part is damaged", why="its size is wrong")
            while len(self._cache) >= _CACHED_FRAMES:
                self._cache.pop(next(iter(self._cache)))
            self._cache[index] = data
        return data


def _bound(size: int) -> int:
    """ZSTD_COMPRESSBOUND: the largest compressed size of that many bytes."""
    return size + (size >> 8) + 64 + 128
