"""All that descend from some processes."""

from __future__ import annotations

from collections.abc import Iterable


def list_descendants(pids: Iterable[int]) -> dict[int, int | None]:
    """The processes themselves and all below them, each with its parent; of the first ones None."""
    from perimortem.proc import list_children

    found: dict[int, int | None] = dict.fromkeys(pids)
    waiting = list(found)
    for pid in waiting:
        for parent, child in list_children([pid]):
            if child not in found:
                found[child] = parent
                waiting.append(child)
    return found
