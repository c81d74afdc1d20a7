"""``perimortem system install | status | uninstall``."""

from __future__ import annotations

from pathlib import Path

import click

from perimortem.cli.options import dump_type_option, json_option
from perimortem.collector.rule import DUMP_COUNT_DEFAULT
from perimortem.model.dump import MinidumpType

EXAMPLES = """\b
Examples on Linux (as root):
  perimortem system install              (every program that dumps core)
  perimortem system install --chain      (systemd-coredump still receives each core)
  perimortem system status
  perimortem system uninstall

\b
On Windows:
  perimortem system install server.exe --type 0x1105 --count 5 --folder D:\\dumps
  perimortem system uninstall server.exe

\b
Linux: sets kernel.core_pattern to a helper that notifies `perimortem monitor` (run it as a service, as
root).
Without a monitor each core goes where it went before. Uninstalling restores the old value exactly.
Windows: WER LocalDumps, for crashes no handler sees (fast-fail, heap corruption, stack overflow)."""


@click.group("system", epilog=EXAMPLES)
def command() -> None:
    """Make the system hand over every crashing program, watched or not."""


@command.command("install")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Windows: dump directory (default: the dumps of `perimortem list`).",
)
@click.option(
    "--count",
    type=click.IntRange(1, 1000),
    default=DUMP_COUNT_DEFAULT,
    show_default=True,
    help="Windows: number of dumps kept; the system removes older ones.",
)
@click.option("--replace", is_flag=True, help="Linux: replace an existing core handler.")
@click.option(
    "--chain", is_flag=True, help="Linux: also pass each core on to the existing handler."
)
@click.option("--until-boot", is_flag=True, help="Linux: do not reinstall at the next boot.")
@dump_type_option
@json_option
@click.argument("program", required=False)
def install_command(
    program: str | None,
    folder: Path | None,
    count: int,
    types: MinidumpType,
    replace: bool,
    chain: bool,
    until_boot: bool,
    as_json: bool,
) -> int:
    """For the executable PROGRAM on Windows, for all programs on Linux. Idempotent."""
    from perimortem.cli.output import echo_json
    from perimortem.collector import install
    from perimortem.collector.rule import Rule, check_program_name
    from perimortem.config.data_dir import find_configured_data_dir
    from perimortem.recorder import find_run_dir

    name = check_program_name(program) if program is not None else None
    if name is None:
        path = folder or find_run_dir()
    else:
        path = (folder or find_configured_data_dir() / "dumps").absolute()
    changed = install(
        Rule(name, path, count, types, replaces=replace, chains=chain, lasts=not until_boot)
    )
    whom = name or "every program"
    if as_json:
        echo_json({"program": name, "folder": str(path), "changed": changed})
    elif not changed:
        click.echo(f"nothing to do: {whom} was already set up")
    elif name is None:
        click.echo(f"the kernel hands every program that dumps core to the monitor at {path}")
        click.echo("start it as a service: perimortem monitor", err=True)
    else:
        click.echo(f"the system writes a dump of {name} to {path} when it crashes")
    return 0


@command.command("status")
@json_option
def status_command(as_json: bool) -> int:
    """Show which programs are set up, by perimortem or by other software."""
    from dataclasses import asdict

    from perimortem.cli.output import echo_json
    from perimortem.collector import list_installed
    from perimortem.collector.crashes import describe_crashes

    rules = list_installed()
    if as_json:
        echo_json([asdict(rule) for rule in rules])
        return 0
    for rule in rules:
        whose = "perimortem" if rule.is_ours else "other software"
        bound = f", at most {rule.count}" if rule.count is not None else ""
        folder = f", {rule.folder}" if rule.folder else ""
        click.echo(f"{rule.program}  {rule.kind}{bound}{folder}  ({whose})")
        if rule.crashes is not None:
            click.echo(f"  crashes since install: {describe_crashes(rule.crashes)}")
    if not rules:
        click.echo("nothing is set up", err=True)
    return 0


@command.command("uninstall")
@json_option
@click.argument("program", required=False)
def uninstall_command(program: str | None, as_json: bool) -> int:
    """Remove what `install` wrote, and nothing else."""
    from perimortem.cli.output import echo_json
    from perimortem.collector import uninstall
    from perimortem.collector.rule import check_program_name

    name = check_program_name(program) if program is not None else None
    changed = uninstall(name)
    if as_json:
        echo_json({"program": name, "changed": changed})
    else:
        what = name or "core_pattern"
        click.echo(f"{what} is restored" if changed else f"nothing of ours was there for {what}")
    return 0
