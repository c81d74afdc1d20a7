"""pytest under `perimortem run`: a heartbeat and an event per test, so that a worker that vanishes or
hangs identifies its test.

Loaded by pytest's entry point; does nothing unless a monitor watches. The heartbeat ``pytest`` has its
own threshold, since tests take longer than requests: `--threshold pytest=SECONDS` changes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from perimortem.agent.session import AgentSession, attach_quietly

if TYPE_CHECKING:
    from _pytest.config import Config
    from _pytest.nodes import Item

THRESHOLD_S = 300.0
_PAYLOAD_TEXT_MAX = 300


def pytest_configure(config: Config) -> None:
    """Only in a process that is watched; xdist's controller runs no tests itself."""
    if not os.environ.get("PERIMORTEM_MONITOR_PID"):
        return
    if getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    session = attach_quietly("pytest", THRESHOLD_S)
    if session is not None:
        config.pluginmanager.register(_Reporter(session, worker), "perimortem-reporter")


class _Reporter:
    """Beats at each phase of each test."""

    def __init__(self, session: AgentSession, worker: str) -> None:
        self._session = session
        self._worker = worker

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Item, nextitem: Item | None) -> Iterator[None]:
        """One event at the start of each test: the last event of a process names the test it died in."""
        said = {"test": item.nodeid[-_PAYLOAD_TEXT_MAX:]}
        if self._worker:
            said["worker"] = self._worker
        self._session.resume()
        self._session.beat()
        self._session.emit("pytest.test", **said)
        try:
            return (yield)
        finally:
            self._session.beat()
            self._session.pause()  # between tests a worker waits for the controller

    def pytest_runtest_logreport(self) -> None:
        self._session.beat()

    def pytest_unconfigure(self) -> None:
        self._session.emit("pytest.end")
        self._session.close()
