"""``perimortem chain [FILE]``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perimortem.cli.options import choose_redact, json_option, redact_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perimortem.model.chain import Chains, ListedProcess

EXAMPLES = """\b
Examples:
  perimortem chain
  perimortem chain kd-process-0-0.txt
  kd -z memory.dmp -c "!process 0 0; q" | perimortem chain -
  perimortem chain --incidents --within 0.1"""

_TEXT_MAX = 256 << 20


@click.command("chain", epilog=EXAMPLES)
@click.option("--incidents", is_flag=True, help="Use stored incidents: which exit caused which.")
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(0.001, 86_400),
    default=0.1,
    show_default=True,
    metavar="SECONDS",
    help="With --incidents: an exit this soon after another may have been caused by it.",
)
@redact_option
@json_option
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
def command(
    file: Path | None, incidents: bool, within_s: float, no_redact: bool, as_json: bool
) -> int:
    """Follow reporters that report reporters (WerFault, systemd-coredump ...) to the first fault.

    Without FILE, examines the processes of this machine. FILE is the output of a debugger's
    `!process 0 0`, with command lines if present (`-` reads standard input).
    """
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.chain import render_chains, render_chains_text

    if math.isnan(within_s):
        raise click.BadParameter("nan is not a number of seconds", param_hint="--within")
    if incidents and file is not None:
        raise click.UsageError("--incidents takes no FILE")
    redact = choose_redact(no_redact)
    if incidents:
        chains = _of_incidents(within_s)
    else:
        chains = _of_text(file, redact) if file else _of_machine(redact)
    if as_json:
        echo_document(render_chains(chains))
    else:
        echo_text(render_chains_text(chains))
    return 0


def _of_machine(redact: bool) -> Chains:
    from perimortem.analysis.chain import derive_chains
    from perimortem.examine.process_table import collect_process_table

    processes = collect_process_table()
    return derive_chains(_redact(processes) if redact else processes)


def _redact(processes: Sequence[ListedProcess]) -> list[ListedProcess]:
    from dataclasses import replace

    from perimortem.report.secrets import redact_text

    return [
        replace(process, command_line=redact_text(process.command_line, is_command=True))
        for process in processes
    ]


def _of_text(file: Path, redact: bool) -> Chains:
    from perimortem.analysis.chain import derive_chains
    from perimortem.analysis.process_list import parse_process_list
    from perimortem.errors import MalformedInput

    processes, notes = parse_process_list(_read_text(file).splitlines())
    if not processes:
        raise MalformedInput(
            f"{file} lists no process",
            why="no line begins with PROCESS and an address",
            remedy="save the output of `!process 0 0` (with command lines: `!process 0 0x1f`)",
        )
    return derive_chains(_redact(processes) if redact else processes, notes)


def _read_text(file: Path) -> str:
    from perimortem.errors import PerimortemError

    try:
        if str(file) == "-":
            raw = sys.stdin.buffer.read(_TEXT_MAX)
        else:
            with open(file, "rb") as source:
                raw = source.read(_TEXT_MAX)
    except OSError as error:
        raise PerimortemError(f"cannot read {file}", why=error.strerror or str(error)) from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):  # WinDbg's log files
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8-sig", "replace")


def _of_incidents(within_s: float) -> Chains:
    from perimortem.analysis.ends import End, derive_end_chains
    from perimortem.api.incidents import open_store
    from perimortem.report.units import parse_time

    ends = []
    with open_store() as store:
        for row in store.list_incidents():
            report = store.find(row.number)
            if report is None or report.ended_at is None or row.pid is None:
                continue
            ends.append(
                End(
                    number=row.number,
                    pid=row.pid,
                    parent_pid=report.processes[0].parent_pid,
                    name=row.name,
                    verdict=row.verdict,
                    ended_s=parse_time(report.ended_at).timestamp(),
                )
            )
    return derive_end_chains(ends, within_s)
