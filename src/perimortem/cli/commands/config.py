"""``perimortem config``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perimortem.cli.options import json_option
from perimortem.config.units import Size

EXAMPLES = """\b
Examples:
  perimortem config
  perimortem config --config ci.toml --json

\b
A file of settings:
  threshold = 30
  on-hang = "abort"
  beat-from = ["sd-notify", "file:/var/log/server.log"]

\b
  [threshold]           # or one per heartbeat
  default = 30
  render = 0.5

Precedence: flags, environment (PERIMORTEM_THRESHOLD ...), the --config file (PERIMORTEM_CONFIG),
~/.config/perimortem/config.toml, /etc/perimortem/conf.d/*.toml, /etc/perimortem/config.toml (on Windows
%LOCALAPPDATA%\\perimortem\\config.toml and %PROGRAMDATA%\\perimortem)."""


@click.command("config", epilog=EXAMPLES)
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Settings as TOML.",
)
@json_option
def command(path: Path | None, as_json: bool) -> int:
    """Show every setting, its value, and where it comes from."""
    from perimortem.cli.output import echo_json
    from perimortem.config.resolve import resolve

    values = resolve({}, path).values
    if as_json:
        echo_json(
            {n: {"value": _plain(v.value), "origin": v.origin} for n, v in sorted(values.items())}
        )
        return 0
    rows = [
        (name, _render(name, value.value), value.origin) for name, value in sorted(values.items())
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, value, origin in rows:
        click.echo(f"{name.ljust(widths[0])}  {value.ljust(widths[1])}  {origin}")
    return 0


def _render_limit(name: str) -> str:
    """The defaults that depend on the disk."""
    from perimortem.cli.store_limits import find_default_limits
    from perimortem.config.data_dir import find_configured_data_dir
    from perimortem.report.units import format_size

    max_use_bytes, keep_free_bytes = find_default_limits(find_configured_data_dir())
    return format_size(max_use_bytes if name == "max-use" else keep_free_bytes)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Size) else value


def _render(name: str, value: Any) -> str:
    if value is None and name in ("max-use", "keep-free"):
        return _render_limit(name)
    if name == "max-age":
        return f"{value / 86400:g}d"
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:.9g}" if isinstance(value, float) else str(value)
