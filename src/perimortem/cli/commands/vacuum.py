"""``perimortem vacuum``."""

from __future__ import annotations

from typing import Any

import click

from perimortem.cli.options import Setting, json_option
from perimortem.config.keys import read_size, read_time_span

EXAMPLES = """\b
Examples:
  perimortem vacuum                      (to the bounds of the settings)
  perimortem vacuum --max-use 500M
  perimortem vacuum --max-age 7d --dry-run

\b
The limits are also enforced before each dump. Incidents are kept, marked as having lost their dump.
The newest dump of each kind of crash is never removed."""


@click.command("vacuum", epilog=EXAMPLES)
@click.option(
    "--max-use", type=Setting(read_size, "SIZE"), help="Keep at most this much: 500M, 2G, 10%."
)
@click.option(
    "--keep-free", type=Setting(read_size, "SIZE"), help="Keep this much of the disk free."
)
@click.option(
    "--max-age",
    type=Setting(read_time_span, "TIME"),
    help="Remove dumps older than this: 12h, 30d.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only print what would be removed.")
@json_option
def command(as_json: bool, dry_run: bool, **options: Any) -> int:
    """Remove leftovers of interrupted runs, and the oldest dumps until the store fits its limits."""
    from perimortem.cli.output import echo_json
    from perimortem.cli.settings import build_settings
    from perimortem.cli.store_limits import read_limits
    from perimortem.config.resolve import resolve
    from perimortem.monitor.sweep import sweep_partials, sweep_run_dir
    from perimortem.report.units import format_size
    from perimortem.store.database import Store
    from perimortem.store.ledger import DumpLedger

    flags = {name.replace("_", "-"): value for name, value in options.items()}
    resolved = resolve(flags)
    settings = build_settings(resolved)
    if not dry_run:
        sweep_run_dir(settings.run_dir)
        sweep_partials(settings.dumps_dir)
    with Store(settings.store_path) as store:
        limits = read_limits(resolved, settings.dumps_dir)
        cleared = DumpLedger(store, settings.dumps_dir, limits).clear(dry_run=dry_run)
        if not dry_run and cleared.dumps:
            store.compact()
    if as_json:
        removed = [{"path": str(d.path), "size_bytes": d.size_bytes} for d in cleared.dumps]
        echo_json({"removed": removed, "used_bytes": cleared.used_bytes, "dry_run": dry_run})
        return 0
    for dump in cleared.dumps:
        click.echo(f"{format_size(dump.size_bytes):>10}  {dump.path}")
    verb = "would be removed" if dry_run else "removed"
    click.echo(
        f"{len(cleared.dumps)} dumps {verb} ({format_size(cleared.bytes_won)}); "
        f"{format_size(cleared.used_bytes)} used of {format_size(limits.max_use_bytes)}",
        err=True,
    )
    if cleared.used_bytes > limits.max_use_bytes:
        click.echo("what is left is the newest dump of each kind of crash", err=True)
    return 0
