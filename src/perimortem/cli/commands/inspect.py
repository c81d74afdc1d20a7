"""``perimortem inspect FILE`` (alias ``dumpdebug``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perimortem.cli.options import choose_redact, json_option, redact_option
from perimortem.cli.param_type import ParamType

if TYPE_CHECKING:
    from perimortem.minidump.reader import MinidumpFile

EXAMPLES = """\b
Examples:
  perimortem inspect server-1795262643-48213.dmp
  perimortem inspect crash.dmp handles
  perimortem inspect crash.dmp memory 0x7ffe4a30 256
  perimortem inspect crash.dmp --stream LinuxMaps --all
  perimortem inspect --json crash.dmp | jq '.streams[].name'"""

_ROWS = 200
_HEX_BYTES, _HEX_BYTES_MAX = 256, 1 << 20
_PARTS = {
    "handles": "HandleDataStream",
    "modules": "ModuleListStream",
    "threads": "ThreadListStream",
    "memory": "",
}
_MEMORY_STREAMS = ("MemoryListStream", "Memory64ListStream", "MemoryInfoListStream")


class Number(ParamType[int]):
    """Decimal, or hex with 0x."""

    name = "NUMBER"

    def convert(self, value: object, param: object, ctx: object) -> int:
        try:
            number = value if isinstance(value, int) else int(str(value), 0)
        except ValueError:
            number = -1
        if number < 0:
            self.fail(f"'{value}' is not an address or length (0x7ffe4a30, 256)")
        return number


@click.command("inspect", epilog=EXAMPLES)
@click.option("--all", "show_all", is_flag=True, help="Show every row of every list.")
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    help="Show only this stream, by name or number.",
)
@redact_option
@json_option
@click.argument("file", type=click.Path(path_type=Path))
@click.argument(
    "part", required=False, metavar=f"[{'|'.join(_PARTS)}]", type=click.Choice(list(_PARTS))
)
@click.argument("address", required=False, type=Number())
@click.argument("length", required=False, type=Number(), default=_HEX_BYTES)
def command(
    file: Path,
    part: str | None,
    address: int | None,
    length: int,
    streams: tuple[str, ...],
    show_all: bool,
    no_redact: bool,
    as_json: bool,
) -> int:
    """List the contents of a minidump: header, flags, every stream (like WinDbg's .dumpdebug).

    Reads minidumps from any writer, Windows or Linux, of any size. A damaged stream is reported, the
    rest listed. PART selects one list: handles, modules, threads, memory; with ADDRESS
    [LENGTH], a hex dump.
    """
    from perimortem.cli.confined import BeforeParsing, examine_confined
    from perimortem.cli.output import echo_document
    from perimortem.dumping.open import open_bytes
    from perimortem.minidump.reader import MinidumpFile
    from perimortem.report.minidump.document import describe_dump
    from perimortem.report.minidump.text import render_dump
    from perimortem.report.redact import redact_document

    redact = choose_redact(no_redact)

    def inspect(before_parsing: BeforeParsing) -> int:
        with open_bytes(file, before_parsing) as (read, size):
            dump = MinidumpFile(read, size)
            if part == "memory" and address is not None:
                return _show_memory(dump, address, length, as_json=as_json)
            only = _choose_streams(dump, part, streams)
            limit = sys.maxsize if show_all else _ROWS
            document = describe_dump(dump, limit=None if as_json or show_all else _ROWS, only=only)
            if redact:
                document = redact_document(document)
            if as_json:
                echo_document(document)
            else:
                click.echo(render_dump(document, limit=limit, with_head=only is None), nl=False)
        return 0

    return examine_confined(inspect, file)


def _choose_streams(
    dump: MinidumpFile, part: str | None, streams: tuple[str, ...]
) -> set[int] | None:
    """None: all. Unknown names are rejected."""
    from perimortem.errors import PerimortemError
    from perimortem.report.minidump.document import find_stream_type

    names = list(streams)
    if part is not None:
        names += [_PARTS[part]] if _PARTS[part] else _MEMORY_STREAMS
    if not names:
        return None
    chosen = set()
    for name in names:
        kind = find_stream_type(dump, name)
        if kind is None:
            there = ", ".join(dict.fromkeys(entry.name for entry in dump.streams))
            raise PerimortemError(
                f"there is no stream {name}", remedy=f"name one of these: {there}"
            )
        chosen.add(kind)
    if not chosen & {entry.type for entry in dump.streams}:
        raise PerimortemError(
            f"the dump has no {' or '.join(names)}",
            remedy="perimortem inspect FILE lists what it has",
        )
    return chosen


def _show_memory(dump: MinidumpFile, address: int, length: int, *, as_json: bool) -> int:
    from perimortem.cli.output import echo_json
    from perimortem.errors import PerimortemError
    from perimortem.minidump.snapshot import read_memory
    from perimortem.report.minidump.hexdump import render_memory

    memory = read_memory(dump)
    if not memory.has(address, length):
        raise PerimortemError(
            f"the dump has no memory at {address:#x}",
            remedy="perimortem inspect FILE memory lists what it has",
        )
    if length > _HEX_BYTES_MAX:
        raise PerimortemError(
            f"{length} bytes are too many to show", remedy=f"ask for {_HEX_BYTES_MAX} at most"
        )
    if as_json:
        data = memory.read(address, length)
        echo_json({"address": f"{address:#x}", "size_bytes": len(data), "hex": data.hex()})
        return 0
    for line in render_memory(memory, address, length):
        click.echo(line)
    return 0
