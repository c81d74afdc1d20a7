"""``perimortem convert SOURCE TARGET``."""

from __future__ import annotations

from pathlib import Path

import click

from perimortem.model.dump import DumpFormat

EXAMPLES = """\b
Examples:
  perimortem convert server.dmp server.core && gdb ./server server.core
  perimortem convert core.4711 server.dmp
  perimortem convert server.dmp.zst server.dmp"""


@click.command("convert", epilog=EXAMPLES)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([str(name) for name in DumpFormat]),
    help="Format of TARGET (default: core if named *.core or core*, else minidump).",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def command(source: Path, target: Path, file_format: str | None) -> int:
    """Convert the dump SOURCE to TARGET: minidump or ELF core, compressed if TARGET ends in .zst.

    x86-64, both ways. Windows dumps also convert to cores; threads, registers and memory are kept.
    """
    from perimortem.cli.confined import BeforeParsing, examine_confined
    from perimortem.dumping.convert import convert
    from perimortem.report.units import format_size

    name = target.name.removesuffix(".zst")
    is_core = name.endswith(".core") or name.startswith("core")
    chosen = DumpFormat(file_format or ("core" if is_core else "minidump"))

    def run(before_parsing: BeforeParsing) -> int:
        soft_errors = convert(
            source,
            target,
            chosen,
            compress=target.suffix == ".zst",
            before_parsing=before_parsing,
        )
        click.echo(f"{target}  {format_size(target.stat().st_size)}, {chosen}")
        for error in soft_errors:
            click.echo(f"  note: {error}", err=True)
        return 0

    return examine_confined(run, source, writable=(target.absolute().parent,))
