"""What `run` and `watch` print while they watch."""

from __future__ import annotations

from perimortem.beats.source import BeatSource
from perimortem.cli.output import echo_account, echo_json, say
from perimortem.cli.status_line import StatusLine
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo
from perimortem.monitor.preload import Preload
from perimortem.monitor.session import Session
from perimortem.report.document import render_document
from perimortem.report.text import format_duration, name_process, render_headline

_WHOLE_ACCOUNTS_MAX = 3
"""Of members of a tree; from then on a line each, or a crash loop would fill the terminal."""
_LINES_MAX = 20


class ConsoleListener:
    """Words on stderr. ``quiet`` leaves only the account of what was not a clean exit."""

    def __init__(self, *, quiet: bool, as_json: bool, shares_terminal: bool) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._shown_hangs: set[int] = set()
        self._members_told = 0
        self._status = StatusLine(
            enabled=not quiet and not as_json, shares_terminal=shares_terminal
        )
        self.status_interval_ns: int | None = 1_000_000_000 if self._status.enabled else None

    def on_start(
        self, target: ProcessInfo, preload: Preload, sources: list[BeatSource], *, follow: bool
    ) -> None:
        whom = f"{target.name}[{target.ref.pid}]" + (" and what comes from it" if follow else "")
        agent = f" without the agent ({preload.reason})" if preload.reason else ""
        own = ", its own by libperimortem" if preload.library else ""
        own = ", its own where it loads perimortem.dll" if preload.is_for_program else own
        self._say(f"watching {whom}{agent}: how it ends; heartbeats: {_describe(sources)}{own}")
        for source in sources:
            if source.warning:
                self._say(f"  {source.warning}")

    def on_attach(self, target: ProcessInfo, sources: list[BeatSource], has_recorder: bool) -> None:
        own = " and its own" if has_recorder else ""
        self._say(
            f"watching {target.name}[{target.ref.pid}]: how it ends; heartbeats: "
            f"{_describe(sources)}{own}"
        )

    def on_serve(self, address: str) -> None:
        self._say(f"serving programs that attach themselves, at {address}")

    def on_untold(self, incident: Incident) -> None:
        headline = render_headline(render_document(incident))
        self._say(f"{headline}, while no monitor lived  (perimortem show {incident.number})")

    def on_hang(self, session: Session, incident: Incident) -> None:
        hang = incident.hangs[-1].hang
        names = ", ".join(f"{beat.name} for {beat.threshold_ns / 1e9:g} s" for beat in hang.stopped)
        self._say(f"HANG  {session.target.name}[{session.pid}]: no beat of {names}")

    def on_hang_examined(self, session: Session, incident: Incident) -> None:
        self._status.wipe()
        if not self._quiet and not self._as_json:
            self._shown_hangs.add(session.pid)
            echo_account(render_document(incident))

    def on_recovery(self, session: Session) -> None:
        hang = session.hangs[-1].hang
        assert hang.recovered_ns is not None
        lasted_s = (hang.recovered_ns - hang.stopped[0].last_beat_ns) / 1e9
        self._say(
            f"{session.target.name}[{session.pid}] recovered after {format_duration(lasted_s)}"
        )

    def on_end(self, session: Session, incident: Incident) -> None:
        if session.is_command:
            self.tell(incident)
            return
        self._members_told += 1
        if self._as_json or self._members_told <= _WHOLE_ACCOUNTS_MAX:
            self.tell(incident)
        elif self._members_told <= _LINES_MAX:
            number = f"  (perimortem show {incident.number})" if incident.number else ""
            self._say(render_headline(render_document(incident)) + number)
        elif self._members_told == _LINES_MAX + 1:
            self._say("further deaths among what comes from it are counted and told at the end")

    def on_watch_end(self, session: Session, incident: Incident) -> None:
        if session.open_hang:
            self.tell(incident)
        else:
            self._say(f"{session.target.name}[{session.pid}] goes on; the watch has ended")

    def on_tick(self, sessions: list[Session], now_ns: int) -> None:
        self._status.show(sessions, now_ns)

    def tell(self, incident: Incident) -> None:
        """The account, or its JSON."""
        self._status.wipe()
        report = render_document(incident)
        if self._as_json:
            echo_json(report, err=True)
        elif not self._quiet or incident.verdict.value != "clean-exit":
            was_shown = incident.target is not None and (
                incident.target.ref.pid in self._shown_hangs
            )
            echo_account(report, with_stacks=not was_shown)
        self._say_who_goes_on(report)

    def _say_who_goes_on(self, report: dict[str, object]) -> None:
        processes = report["processes"]
        assert isinstance(processes, list)
        left = [process for process in processes[1:] if process["ended_at"] is None]
        if left:
            names = ", ".join(name_process(process) for process in left[:5])
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            verb = "still runs and is" if len(left) == 1 else "still run and are"
            self._say(f"{names}{more} {verb} watched no more (--wait all watches on)")

    def _say(self, text: str) -> None:
        if not self._quiet and not self._as_json:
            self._status.wipe()
            say(f"perimortem: {text}")


def _describe(sources: list[BeatSource]) -> str:
    """ "process (blind to ...), progress (blind to ...)": what there is, and what it cannot see."""
    return ", ".join(f"{source.name} (blind to {source.blind_spot})" for source in sources)
