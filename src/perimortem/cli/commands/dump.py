"""``perimortem dump PID``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from perimortem.cli.options import Pid, dump_type_option, json_option
from perimortem.model.dump import MinidumpType

EXAMPLES = """\b
Examples:
  perimortem dump 4711
  perimortem dump 4711 -o server.dmp --type full
  perimortem dump 4711 --type 0x1105"""


@click.command("dump", epilog=EXAMPLES)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or directory to write to (default: ./NAME-TIME-PID.dmp).",
)
@dump_type_option
@json_option
@click.argument("pid", type=Pid())
def command(pid: int, output: Path | None, types: MinidumpType, as_json: bool) -> int:
    """Write a minidump of process PID, which runs on.

    Its threads are stopped for the copy (a few milliseconds for a mini dump). Opens in lldb, WinDbg
    and every tool that reads minidumps.
    """
    from perimortem.cli.output import echo_json
    from perimortem.errors import CaptureFailed, PerimortemError
    from perimortem.monitor.dump_once import dump_process
    from perimortem.report.document import render_dump
    from perimortem.report.text import format_size

    if pid == os.getpid():
        raise PerimortemError("perimortem does not dump itself", remedy="name another process")
    result = dump_process(pid, output, types)
    if as_json:
        echo_json(render_dump(result))
    if result.path is None:
        if as_json:
            return 1
        raise CaptureFailed(result.error or "no dump was written")
    if not as_json:
        click.echo(
            f"{result.path}  {format_size(result.size_bytes)}, {result.thread_count} threads, "
            f"target paused {result.target_paused_ms:.1f} ms"
        )
        for error in result.soft_errors:
            click.echo(f"  note: {error}", err=True)
    return 0
