"""``perimortem dump PID``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from perimortem.cli.options import PAUSE_HELP, Pid, dump_type_option, json_option
from perimortem.model.dump import DumpFormat, DumpOptions, MinidumpType, Pause

EXAMPLES = """\b
Examples:
  perimortem dump 4711
  perimortem dump 4711 -o server.dmp --type full
  perimortem dump 4711 --type triage           (the only type to give to others)
  perimortem dump 4711 --type full --pause snapshot --compress
  perimortem dump 4711 --format core
  perimortem dump 4711 --type 0x1105"""


@click.command("dump", epilog=EXAMPLES)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or directory to write to (default: ./NAME-TIME-PID.dmp).",
)
@dump_type_option
@click.option(
    "--pause",
    type=click.Choice([str(pause) for pause in Pause]),
    default=Pause.STOP.value,
    help=PAUSE_HELP,
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([str(name) for name in DumpFormat]),
    default=DumpFormat.MINIDUMP.value,
    help="minidump (default), or core: an ELF core for gdb, lldb, drgn, pystack.",
)
@click.option(
    "--compress", is_flag=True, help="Compress with zstd; inspect and convert can read it."
)
@click.option(
    "--include-dontdump",
    is_flag=True,
    help="Include memory that the program marked MADV_DONTDUMP (keys, guest memory).",
)
@json_option
@click.argument("pid", type=Pid())
def command(
    pid: int,
    output: Path | None,
    types: MinidumpType,
    pause: str,
    file_format: str,
    compress: bool,
    include_dontdump: bool,
    as_json: bool,
) -> int:
    """Write a dump of the running process PID without ending it.

    Its threads are stopped during the copy (a few milliseconds for a mini dump). The dump opens in lldb,
    WinDbg and every tool that reads minidumps. Ctrl-C cancels: the process runs on, no file is left.
    """
    from perimortem.cli.output import echo_document
    from perimortem.cli.progress_line import ProgressLine
    from perimortem.errors import CaptureFailed, PerimortemError
    from perimortem.monitor.dump_once import dump_process
    from perimortem.report.document import render_dump
    from perimortem.report.units import (
        describe_pause,
        format_count,
        format_size,
        warn_of_memory,
    )

    if pid == os.getpid():
        raise PerimortemError("perimortem does not dump itself", remedy="name another process")
    options = DumpOptions(types, Pause(pause), DumpFormat(file_format), compress, include_dontdump)
    with ProgressLine(sys.stderr) as line:
        result = dump_process(pid, output, options, line.show)
    if as_json:
        echo_document(render_dump(result))
    if result.path is None:
        if as_json:
            return 1
        raise CaptureFailed(result.error or "no dump was written")
    if not as_json:
        click.echo(
            f"{result.path}  {format_size(result.size_bytes)}, "
            f"{format_count(result.thread_count, 'thread')}, "
            f"{describe_pause(result.pause, result.target_paused_ms)}"
        )
        warning = warn_of_memory(result.types)
        if warning:
            click.echo(f"  note: {warning}", err=True)
        for error in result.soft_errors:
            click.echo(f"  note: {error}", err=True)
    return 0
