"""What the core helper of Linux shares with the installer: the file of counts, and the number of slots.

``tools/generate_headers.py`` writes ``native/src/collector_layout.h`` from this file.
"""

from __future__ import annotations

from perimortem.binary.record import U64, Bytes8, Record

COUNTS_MAGIC = b"PERICNT1"
"""Another one when the fields change."""
WORK_SLOTS = 256
"""Crashes that are worked on at once; a further one is counted, and dies without a core. Arbitrary."""
WORK_SLOTS_OF_USER = 128
"""Those of one user other than root."""
WRITE_SLOTS = 32
"""Of these, cores that are passed on at once, to a file or a handler; others wait. Arbitrary."""
WRITE_SLOTS_OF_USER = 8


class Counts(Record):
    """What became of the crashes since `install`. A core that is passed on as well counts twice."""

    magic: Bytes8
    monitor: U64
    """Taken by the monitor."""
    core_file: U64
    """Written to the file that core_pattern named before."""
    handler: U64
    """Passed to the handler that core_pattern named before."""
    unwanted: U64
    """Without a core, as it would have been without us: ulimit -c 0, setuid, a container."""
    unanswered: U64
    """The monitor did not answer in time; the core then went where it would have gone without one."""
    refused: U64
    """Without a core: too many at once."""
    not_written: U64
    """Without a core: no room, no right, or a write error."""
    cut_off: U64
    """Only the beginning of a core came, because the process was killed; it is kept as `.partial`."""
