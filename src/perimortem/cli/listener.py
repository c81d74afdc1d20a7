"""What `run` and `watch` print while they watch."""

from __future__ import annotations

import sys
import time

assert sys.platform == "linux"

from perimortem.cli.output import echo_account, echo_json, say
from perimortem.cli.status_line import StatusLine
from perimortem.model.incident import Incident
from perimortem.model.process import Target
from perimortem.monitor.preload import Preload
from perimortem.monitor.session import Session
from perimortem.report.document import render_document
from perimortem.report.text import format_duration


class ConsoleListener:
    """Words on stderr. ``quiet`` leaves only the account of what was not a clean exit."""

    def __init__(self, *, quiet: bool, as_json: bool, shares_terminal: bool) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._shown_hangs = False
        self._status = StatusLine(
            enabled=not quiet and not as_json, shares_terminal=shares_terminal
        )
        self.status_interval_ns: int | None = 1_000_000_000 if self._status.enabled else None

    def on_start(self, target: Target, preload: Preload) -> None:
        if preload.library is not None:
            self._say(
                f"watching {target.name}[{target.ref.pid}]: its end, stops of the whole process, "
                "heartbeats it registers; no other hangs"
            )
        else:
            self._say(
                f"watching {target.name}[{target.ref.pid}] without the agent ({preload.reason}): its "
                "end and stops of the whole process; no other hangs"
            )

    def on_attach(self, target: Target, has_recorder: bool) -> None:
        if has_recorder:
            self._say(f"watching {target.name}[{target.ref.pid}]: its end and its own heartbeats")
        else:
            self._say(
                f"watching {target.name}[{target.ref.pid}]: its end only, for it has no heartbeats "
                "(yet); no hangs"
            )

    def on_hang(self, session: Session, incident: Incident) -> None:
        hang = incident.hangs[-1].hang
        names = ", ".join(f"{beat.name} for {beat.threshold_ns / 1e9:g} s" for beat in hang.stopped)
        self._say(f"HANG  {session.target.name}[{session.pid}]: no beat of {names}")

    def on_hang_examined(self, session: Session, incident: Incident) -> None:
        self._status.wipe()
        if not self._quiet and not self._as_json:
            self._shown_hangs = True
            echo_account(render_document(incident))

    def on_recovery(self, session: Session) -> None:
        hang = session.hangs[-1].hang
        assert hang.recovered_ns is not None
        lasted_s = (hang.recovered_ns - hang.stopped[0].last_beat_ns) / 1e9
        self._say(
            f"{session.target.name}[{session.pid}] recovered after {format_duration(lasted_s)}"
        )

    def on_end(self, session: Session, incident: Incident) -> None:
        self.tell(incident)

    def on_watch_end(self, session: Session, incident: Incident) -> None:
        if session.open_hang:
            self.tell(incident)
        else:
            self._say(f"{session.target.name}[{session.pid}] goes on; the watch has ended")

    def on_tick(self, sessions: list[Session]) -> None:
        self._status.show(sessions, time.monotonic_ns())

    def tell(self, incident: Incident) -> None:
        """The account, or its JSON."""
        self._status.wipe()
        report = render_document(incident)
        if self._as_json:
            echo_json(report, err=True)
        elif not self._quiet or incident.verdict.value != "clean-exit":
            echo_account(report, with_stacks=not self._shown_hangs)

    def _say(self, text: str) -> None:
        if not self._quiet and not self._as_json:
            self._status.wipe()
            say(f"perimortem: {text}")
