"""perimortem: why did my process die, or stop?

In a program: ``import perimortem`` and ``with perimortem.attach("worker") as hb: hb.beat()``, or
``perimortem.spawn_and_attach()`` to have its crashes dumped.
Everything else is the command line: ``perimortem --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perimortem.agent.guard import Guard, spawn_and_attach
    from perimortem.agent.session import AgentSession, attach

__version__ = "0.1.0"
__all__ = ["AgentSession", "Guard", "__version__", "attach", "spawn_and_attach"]


def __getattr__(name: str) -> Any:
    """The agent is loaded when it is asked for: the command line does not need it."""
    if name in ("AgentSession", "attach"):
        from perimortem.agent import session

        return getattr(session, name)
    if name in ("Guard", "spawn_and_attach"):
        from perimortem.agent import guard

        return getattr(guard, name)
    raise AttributeError(f"module 'perimortem' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
