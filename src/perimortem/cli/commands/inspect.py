"""``perimortem inspect FILE`` (alias ``dumpdebug``)."""

from __future__ import annotations

import os
import sys

import click

from perimortem.cli.options import json_option

EXAMPLES = """\b
Examples:
  perimortem inspect server-1795262643-48213.dmp
  perimortem inspect --json crash.dmp | jq '.streams[].name'"""


@click.command("inspect", epilog=EXAMPLES)
@click.option("--all", "show_all", is_flag=True, help="Every row of every list.")
@json_option
@click.argument("file", type=click.Path())
def command(file: str, show_all: bool, as_json: bool) -> int:
    """List what is in a minidump: header, flags, every stream (as WinDbg's .dumpdebug).

    Reads minidumps of any writer, Windows or Linux. A damaged stream is named, the rest is listed.
    """
    from perimortem.cli.output import echo_json
    from perimortem.errors import MalformedInput, PerimortemError
    from perimortem.minidump.reader import MinidumpFile
    from perimortem.report.dump_document import describe_dump
    from perimortem.report.dump_text import render_dump

    try:
        with open(file, "rb", buffering=0) as stream:
            fd = stream.fileno()
            size = os.fstat(fd).st_size

            def read(offset: int, count: int) -> bytes:
                os.lseek(fd, offset, os.SEEK_SET)
                return os.read(fd, count)

            document = describe_dump(MinidumpFile(read, size))
    except OSError as error:
        raise PerimortemError(f"cannot read {file}", why=error.strerror or str(error)) from error
    except MalformedInput as error:
        raise PerimortemError(f"{file}: {error}") from error
    if as_json:
        echo_json(document)
    else:
        click.echo(render_dump(document, limit=sys.maxsize if show_all else 200), nl=False)
    return 0
