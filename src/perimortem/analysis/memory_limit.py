"""Whether an allocation may have failed: the memory that a process may have, and has. Pure.

Source: setrlimit(2); proc_pid_limits(5) and proc_pid_status(5), as they were at the crash.
"""

from __future__ import annotations

import re
from dataclasses import replace

from perimortem.analysis.crash_context import NULL_MAX, CrashContext
from perimortem.exits.limits import parse_limit
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import Reason, ReasonKind

_LIMITED = (("Max address space", "VmSize", "address space"), ("Max data size", "VmData", "data"))
_NEAR = 0.75
"""The part of a limit from which on it is mentioned: what failed may have been large. Arbitrary."""
_NO_MEMORY = ("std::bad_alloc", "std::bad_array_new_length")


def mention_memory_limit(context: CrashContext, reason: Reason) -> Reason:
    """``reason``; with the limit, if it is a null pointer or std::bad_alloc and the limit is near."""
    address = reason.access.address if reason.access is not None else None
    is_null = reason.kind is ReasonKind.NULL_POINTER and address is not None and address < NULL_MAX
    if not is_null and reason.thrown_type not in _NO_MEMORY:
        return reason
    limits = context.snapshot.files.get("limits", b"").decode("ascii", "replace")
    status = context.snapshot.files.get("status", b"").decode("ascii", "replace")
    for name, field, words in _LIMITED:
        limit = parse_limit(limits, name, is_hard=False)
        found = re.search(rf"^{field}:\s*(\d{{1,18}}) kB$", status, re.MULTILINE)
        used = int(found[1]) << 10 if found is not None else 0
        if limit is None or used < _NEAR * limit:
            continue
        amounts = f"{used / 2**20:,.0f} of {limit / 2**20:,.0f} MiB"
        text = f"{reason.text}; {amounts} of {words} were in use: an allocation may have failed"
        fact = Evidence(
            f"{name} {limit} bytes; {field} {used} bytes", "limits", Confidence.OBSERVED
        )
        return replace(reason, text=text, evidence=(*reason.evidence, fact))
    return reason
