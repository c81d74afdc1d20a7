"""What every stream writer gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perimortem.minidump.body import Body
from perimortem.minidump.format import Location, MemoryDescriptor, StreamType
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import Snapshot


@dataclass
class DumpPlan:
    """What the streams share: the snapshot, the types, and where things went."""

    snapshot: Snapshot
    types: MinidumpType
    body: Body
    memory: list[MemoryDescriptor] = field(default_factory=list)
    """Ranges with their RVAs, known when all else is placed; empty with full memory."""
    contexts: dict[int, Location] = field(default_factory=dict)


StreamWriter = Callable[[DumpPlan], tuple[StreamType, bytes] | None]
