"""``perimortem system install | status | uninstall``."""

from __future__ import annotations

from pathlib import Path

import click

from perimortem.cli.options import dump_type_option, json_option
from perimortem.collector.rule import DUMP_COUNT_DEFAULT
from perimortem.model.dump import MinidumpType

EXAMPLES = """\b
Examples:
  perimortem system install server.exe
  perimortem system install server.exe --type 0x1105 --count 5 --folder D:\\dumps
  perimortem system status
  perimortem system uninstall server.exe

\b
Windows: WER LocalDumps, for what no handler sees (fast-fail, heap corruption, stack overflow).
Linux: not in this version."""


@click.group("system", epilog=EXAMPLES)
def command() -> None:
    """Have the system itself write a dump of a program that crashes, watched or not."""


@command.command("install")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the dumps go (default: the dumps of `perimortem list`).",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=DUMP_COUNT_DEFAULT,
    show_default=True,
    help="Older ones are removed by the system.",
)
@dump_type_option
@json_option
@click.argument("program")
def install_command(
    program: str, folder: Path | None, count: int, types: MinidumpType, as_json: bool
) -> int:
    """For the executable PROGRAM (a name, no path). Doing it twice changes nothing."""
    from perimortem.cli.data_dir import find_configured_data_dir
    from perimortem.cli.output import echo_json
    from perimortem.collector import install
    from perimortem.collector.rule import Rule, check_program_name

    name = check_program_name(program)
    path = (folder or find_configured_data_dir() / "dumps").absolute()
    changed = install(Rule(name, path, count, types))
    if as_json:
        echo_json({"program": name, "folder": str(path), "changed": changed})
    elif changed:
        click.echo(f"the system writes a dump of {name} to {path} when it crashes")
    else:
        click.echo(f"nothing to do: {name} was set up so already")
    return 0


@command.command("status")
@json_option
def status_command(as_json: bool) -> int:
    """Which programs are set up, by us or by others."""
    from dataclasses import asdict

    from perimortem.cli.output import echo_json
    from perimortem.collector import list_installed

    rules = list_installed()
    if as_json:
        echo_json([asdict(rule) for rule in rules])
        return 0
    for rule in rules:
        whose = "perimortem" if rule.is_ours else "somebody else"
        folder = rule.folder or "the system's folder"
        click.echo(f"{rule.program}  {rule.kind}, at most {rule.count or 10}, {folder}  ({whose})")
    if not rules:
        click.echo("no program is set up", err=True)
    return 0


@command.command("uninstall")
@json_option
@click.argument("program")
def uninstall_command(program: str, as_json: bool) -> int:
    """Take away what `install` wrote, and nothing else."""
    from perimortem.cli.output import echo_json
    from perimortem.collector import uninstall
    from perimortem.collector.rule import check_program_name

    name = check_program_name(program)
    changed = uninstall(name)
    if as_json:
        echo_json({"program": name, "changed": changed})
    else:
        click.echo(f"{name} is as it was" if changed else f"nothing of ours was there for {name}")
    return 0
