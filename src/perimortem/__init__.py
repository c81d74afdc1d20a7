"""perimortem: why did my process die, or stop?

The library watches, dumps and explains processes: :func:`run`, :func:`run_async`, :func:`watch`,
:func:`dump`, :func:`open_dump`, :func:`stacks`, :func:`analyze`, :func:`incident`,
:func:`incidents`, :func:`explain`, :func:`waits`, :func:`tree_stacks`. Inside your program:
``with perimortem.attach("worker") as hb: hb.beat()``, or ``perimortem.spawn_and_attach()`` to have its
crashes dumped.

Everything is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perimortem.agent.guard import Guard, spawn_and_attach
    from perimortem.agent.session import AgentSession, attach
    from perimortem.api.dumping import Dump, dump, open_dump
    from perimortem.api.examining import analyze, stacks
    from perimortem.api.explaining import explain
    from perimortem.api.incidents import incident, incidents
    from perimortem.api.tree_stacks import tree_stacks
    from perimortem.api.waiting import waits
    from perimortem.api.watching import RunResult, run, run_async, watch
    from perimortem.documents.examination import Examination
    from perimortem.documents.report import Report
    from perimortem.documents.tree_stacks import TreeStacks
    from perimortem.documents.waits import Waits
    from perimortem.errors import PerimortemError

__version__ = "0.1.0"

_PLACES = {
    "AgentSession": "agent.session",
    "attach": "agent.session",
    "Guard": "agent.guard",
    "spawn_and_attach": "agent.guard",
    "Dump": "api.dumping",
    "dump": "api.dumping",
    "open_dump": "api.dumping",
    "analyze": "api.examining",
    "explain": "api.explaining",
    "stacks": "api.examining",
    "incident": "api.incidents",
    "incidents": "api.incidents",
    "tree_stacks": "api.tree_stacks",
    "waits": "api.waiting",
    "RunResult": "api.watching",
    "run": "api.watching",
    "run_async": "api.watching",
    "watch": "api.watching",
    "Examination": "documents.examination",
    "Report": "documents.report",
    "TreeStacks": "documents.tree_stacks",
    "Waits": "documents.waits",
    "PerimortemError": "errors",
}
"""The module of each public name."""

__all__ = [
    "AgentSession",
    "Dump",
    "Examination",
    "Guard",
    "PerimortemError",
    "Report",
    "RunResult",
    "TreeStacks",
    "Waits",
    "__version__",
    "analyze",
    "attach",
    "dump",
    "explain",
    "incident",
    "incidents",
    "open_dump",
    "run",
    "run_async",
    "spawn_and_attach",
    "stacks",
    "tree_stacks",
    "waits",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Load on first use: the command line needs none of it, a program only the agent."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'perimortem' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"perimortem.{place}"), name)
    globals()[name] = value  # a package of that name, once imported, would hide it
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
