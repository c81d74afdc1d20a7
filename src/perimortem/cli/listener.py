"""What `run` and `watch` print while they watch."""

from __future__ import annotations

from perimortem.beats.source import BeatSource
from perimortem.cli.output import echo_account, echo_document, say
from perimortem.cli.status_line import StatusLine
from perimortem.documents.report import Report
from perimortem.hangs.policy import AGENT_HEARTBEATS, AGENT_THRESHOLD_LEAST_NS, WatchPolicy
from perimortem.model.fact import Fact
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo
from perimortem.model.verdict import Verdict
from perimortem.monitor.preload import Preload
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets
from perimortem.report.document import render_document
from perimortem.report.sentences import describe_quiet
from perimortem.report.text import name_process, render_headline
from perimortem.report.units import format_duration
from perimortem.report.upgrade import read_report

_WHOLE_ACCOUNTS_MAX = 3
"""Ends of tree members printed in full; later ones get one line each, so that a crash loop does not
flood the terminal."""
_LINES_MAX = 20


class ConsoleListener:
    """Text on stderr. ``quiet`` prints only reports of unclean ends; ``is_silent`` prints nothing."""

    def __init__(
        self,
        *,
        quiet: bool,
        as_json: bool,
        shares_terminal: bool,
        is_silent: bool = False,
        redact: bool = True,
    ) -> None:
        quiet = quiet or is_silent
        self._is_silent = is_silent
        self._quiet = quiet
        self._as_json = as_json
        self._redact = redact
        self._shown_hangs: set[int] = set()
        self._members_shown = 0
        self._status = StatusLine(
            enabled=not quiet and not as_json, shares_terminal=shares_terminal
        )
        self.status_interval_ns: int | None = 1_000_000_000 if self._status.enabled else None

    def on_start(
        self,
        process: ProcessInfo,
        preload: Preload,
        sources: tuple[BeatSource, ...],
        policy: WatchPolicy,
        *,
        follow: bool,
    ) -> None:
        children = " and its children" if follow else ""
        agent = f" without the agent ({preload.reason})" if preload.reason else ""
        self._say(
            f"watching {process.name}[{process.ref.pid}]{children}{agent}; "
            f"a hang is reported after {_describe_threshold(policy)}; "
            "what this cannot see: perimortem run --help"
        )
        for source in sources:
            if source.warning:
                self._say(f"  {source.warning}")

    def on_attach(
        self, process: ProcessInfo, sources: tuple[BeatSource, ...], has_recorder: bool
    ) -> None:
        own = " (it has its own heartbeats)" if has_recorder else ""
        self._say(f"watching {process.name}[{process.ref.pid}]{own}")

    def on_serve(self, address: str) -> None:
        self._say(f"serving programs that attach themselves, at {address}")

    def on_limited(self, what: str) -> None:
        if not self._is_silent:
            say(f"perimortem: watching {what}")

    def on_unspooled(self, numbers: tuple[int, ...]) -> None:
        shown = ", ".join(str(number) for number in numbers[:5])
        more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        self._say(
            f"stored now, after an earlier failure: incident {shown}{more}  (perimortem list)"
        )

    def on_unreported(self, report: str) -> None:
        read = read_report(report)
        number = f"  (perimortem show {read.id})" if read.id else ""
        self._say(f"{render_headline(read)}, while no monitor was running{number}")

    def on_hang(self, target: Target, incident: Incident) -> None:
        hang = incident.hangs[-1].hang
        names = ", ".join(f"{beat.name} for {beat.threshold_ns / 1e9:g} s" for beat in hang.stopped)
        deadlock, examined = target.hangs[-1].deadlock, target.hangs[-1].examined
        what = deadlock.text if deadlock else f"no beat of {names}"
        name = f"{target.process.name}[{target.pid}]"
        if examined.ref != target.ref:
            name = f"{examined.name}[{examined.ref.pid}] under {name}"
        self._say(f"HANG  {name}: {what}")

    def on_hang_examined(self, target: Target, incident: Incident) -> None:
        self._status.wipe()
        if not self._quiet and not self._as_json:
            self._shown_hangs.add(target.pid)
            echo_account(self._render(incident))

    def on_recovery(self, target: Target) -> None:
        hang = target.hangs[-1].hang
        assert hang.recovered_ns is not None
        lasted_s = (hang.recovered_ns - hang.stopped[0].last_beat_ns) / 1e9
        self._say(
            f"{target.process.name}[{target.pid}] recovered after {format_duration(lasted_s)}"
        )

    def on_ranks(self, text: str) -> None:
        self._say(f"all ranks hang: {text}")

    def on_quiet(self, target: Target, fact: Fact) -> None:
        self._say(f"{target.process.name}[{target.pid}]: {describe_quiet(fact.values)}")

    def on_end(self, target: Target, incident: Incident) -> None:
        if target.is_command:
            self.show_end(incident)
            return
        self._members_shown += 1
        if self._as_json or self._members_shown <= _WHOLE_ACCOUNTS_MAX:
            self.show_end(incident)
        elif self._members_shown <= _LINES_MAX:
            number = f"  (perimortem show {incident.number})" if incident.number else ""
            self._say(render_headline(self._render(incident)) + number)
        elif self._members_shown == _LINES_MAX + 1:
            self._say("further deaths of its descendants are counted and reported at the end")

    def on_watch_end(self, target: Target, incident: Incident) -> None:
        if target.open_hang:
            self.show_end(incident)
        else:
            self._say(f"{target.process.name}[{target.pid}] keeps running; the watch has ended")

    def on_interrupt_ignored(self, targets: list[Target]) -> None:
        verb = "runs" if len(targets) == 1 else "run"
        self._say(
            f"Ctrl-C was passed on; {_name_targets(targets)} still {verb}. "
            "Press it again within 2 s to end the watch, and a third time to kill"
        )

    def on_watch_ending(self, targets: list[Target]) -> None:
        verb = "runs" if len(targets) == 1 else "run"
        self._say(
            f"the watch ends in 2 s, and {_name_targets(targets)} {verb} on. Ctrl-C now kills"
        )

    def on_kill(self, targets: list[Target]) -> None:
        self._say(f"killed {_name_targets(targets)}")

    def on_tick(self, targets: Targets, now_ns: int) -> None:
        self._status.show(list(targets), now_ns)

    def show_end(self, incident: Incident) -> None:
        """The report, or its JSON."""
        self._status.wipe()
        report = self._render(incident)
        if self._is_silent or (self._quiet and incident.verdict is Verdict.CLEAN_EXIT):
            return
        if self._as_json:
            echo_document(report, err=True)
        else:
            was_shown = incident.target is not None and (
                incident.target.ref.pid in self._shown_hangs
            )
            echo_account(report, with_stacks=not was_shown)
        self._say_who_goes_on(report)

    def _say_who_goes_on(self, report: Report) -> None:
        left = [process for process in report.processes[1:] if process.ended_at is None]
        if left:
            names = ", ".join(name_process(process) for process in left[:5])
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            verb = "still runs and is" if len(left) == 1 else "still run and are"
            self._say(f"{names}{more} {verb} no longer watched (use --wait all to keep watching)")

    def _render(self, incident: Incident) -> Report:
        return render_document(incident, redact=self._redact)

    def _say(self, text: str) -> None:
        if not self._quiet and not self._as_json:
            self._status.wipe()
            say(f"perimortem: {text}")


def _name_targets(targets: list[Target]) -> str:
    """ "server[763], worker[764] and 3 more"."""
    names = ", ".join(f"{target.process.name}[{target.pid}]" for target in targets[:3])
    return names + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")


def _describe_threshold(policy: WatchPolicy) -> str:
    """ "10 s", "1 s (3 s for process, progress and python)"."""
    limit = f"{policy.threshold_ns / 1e9:g} s"
    if policy.threshold_ns >= AGENT_THRESHOLD_LEAST_NS:
        return limit
    names = sorted(AGENT_HEARTBEATS)
    least = f"{AGENT_THRESHOLD_LEAST_NS / 1e9:g} s"
    return f"{limit} ({least} for {', '.join(names[:-1])} and {names[-1]})"
