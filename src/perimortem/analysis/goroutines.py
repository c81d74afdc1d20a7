"""The goroutines of a Go program that wait, from its memory. Pure.

Go's runtime keeps a list of all goroutines, `runtime.allgs`, and notes of each why it waits; the offsets
are those of the program's own debugging information. A goroutine that waits has saved its registers, and
Go's functions keep frame pointers.

Source: runtime2.go, traceback.go and proc.go of Go 1.20 to 1.26 (g, gobuf, waitReasonStrings,
casgstatus).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from perimortem.model.snapshot import ReadMemory
from perimortem.text import printable

_WAITING = 4
_SCANNED = 0x1000
"""Added to the state while the collector looks at its stack."""
_GOROUTINES_MAX = 20_000
_FRAMES_MAX = 32
_REASONS_MAX = 256
_REASON_MAX = 64
_FUNCTION_MAX = 200
_SIZE_MAX = 4096
_GLUE = ("runtime.", "sync.", "internal/", "os/signal.", "golang.org/x/sync/")
"""Where a goroutine waits is the function that called these."""
_MAIN = "runtime.main"

NameFunction = Callable[[int], str | None]
"""The function around an address of code."""


@dataclass(frozen=True)
class GoRuntime:
    """Addresses of variables of the runtime in the process, and what they mean."""

    all_goroutines: int
    """`runtime.allgs`, a slice."""
    reasons: range
    """`runtime.waitReasonStrings`."""
    goroutine: Mapping[str, int]
    """Offsets in `runtime.g`."""
    registers: Mapping[str, int]
    """Offsets in `runtime.gobuf`."""


@dataclass(frozen=True)
class Goroutine:
    """One that waits."""

    number: int
    reason: str
    """As the runtime says it: "chan receive", "sync.Mutex.Lock"."""
    function: str
    """Where it waits: the function that called the library; empty if that is not known."""
    key: tuple[int, ...]
    """Equal as long as it has not run."""

    @property
    def waits_for_lock(self) -> bool:
        return "Mutex" in self.reason


def list_goroutines(
    read: ReadMemory, runtime: GoRuntime, name_function: NameFunction
) -> list[Goroutine]:
    """Those of the program that wait, of the first 20,000; not those that the runtime keeps for itself.

    Raises KeyError if the program does not describe what is needed.
    """
    reader = _Reader(read, runtime, name_function)
    return [found for address in reader.list_addresses() if (found := reader.read_one(address))]


class _Reader:
    def __init__(self, read: ReadMemory, runtime: GoRuntime, name_function: NameFunction) -> None:
        self._read, self._runtime, self._name = read, runtime, name_function
        offsets = runtime.goroutine
        saved = offsets["sched"]
        self._status_at, self._number_at = offsets["atomicstatus"], offsets["goid"]
        self._reason_at, self._since_at = offsets["waitreason"], offsets["waitsince"]
        self._runs_at, self._start_at = offsets["trackingSeq"], offsets["startpc"]
        self._sp_at, self._pc_at, self._bp_at = (
            saved + runtime.registers[name] for name in ("sp", "pc", "bp")
        )
        places = (
            self._status_at, self._number_at, self._reason_at, self._since_at, self._runs_at,
            self._start_at, self._sp_at, self._pc_at, self._bp_at,
        )  # fmt: skip
        if min(places) < 0 or max(places) >= _SIZE_MAX:
            raise KeyError("an offset that cannot be")
        self._size = 8 + max(places)
        self._reasons = list(self._read_reasons())

    def list_addresses(self) -> Iterator[int]:
        listed = self._read_words(self._runtime.all_goroutines, 2)
        if len(listed) == 2:  # else it has just ended, or executed another program
            yield from self._read_words(listed[0], min(listed[1], _GOROUTINES_MAX))

    def read_one(self, address: int) -> Goroutine | None:
        raw = self._read(address, self._size)
        if len(raw) < self._size:
            return None

        def word(at: int, size: int = 8) -> int:
            return int.from_bytes(raw[at : at + size], "little")

        reason = raw[self._reason_at]
        start = self._name(word(self._start_at)) or ""
        is_own = start.startswith("runtime.") and start != _MAIN
        is_waiting = word(self._status_at, 4) & ~_SCANNED == _WAITING
        if not is_waiting or is_own or reason >= len(self._reasons):
            return None
        callers = self._list_callers(word(self._bp_at))
        named = (name for caller in callers if (name := self._name(caller - 1)) is not None)
        function = printable(next((name for name in named if not name.startswith(_GLUE)), ""))
        number, stack = word(self._number_at), word(self._sp_at)
        key = (number, stack, reason, raw[self._runs_at], word(self._since_at))
        return Goroutine(number, self._reasons[reason], function[:_FUNCTION_MAX], key)

    def _list_callers(self, frame: int) -> Iterator[int]:
        for _ in range(_FRAMES_MAX):
            words = self._read_words(frame, 2)
            if len(words) < 2 or not words[1]:
                return
            yield words[1]
            if words[0] <= frame:
                return
            frame = words[0]

    def _read_reasons(self) -> Iterator[str]:
        place = self._runtime.reasons
        words = self._read_words(
            place.start, 2 * min((place.stop - place.start) // 16, _REASONS_MAX)
        )
        for at, size in zip(words[::2], words[1::2], strict=False):
            text = self._read(at, min(size, _REASON_MAX)).decode("utf-8", "replace")
            yield printable(text)[:_REASON_MAX]

    def _read_words(self, address: int, count: int) -> tuple[int, ...]:
        raw = self._read(address, 8 * count)
        whole = len(raw) // 8
        return struct.unpack_from(f"<{whole}Q", raw)
