"""``perimortem monitor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perimortem.cli.options import collect_flags, watch_options

EXAMPLES = """\b
Examples:
  perimortem monitor                    (serve until Ctrl-C)
  perimortem monitor --exit-when-idle   (as started by a program for itself)

\b
In a program:
  C       perimortem_guard *guard = perimortem_spawn_and_attach(NULL);
  Python  guard = perimortem.spawn_and_attach()"""


@click.command("monitor", epilog=EXAMPLES)
@watch_options
@click.option("--exit-when-idle", is_flag=True, help="Exit when the last program has disconnected.")
def command(config: Path | None, as_json: bool, exit_when_idle: bool, **options: Any) -> int:
    """Serve programs that attach themselves with libperimortem, from start to exit.

    They report crashes over a local socket and wait for their dump; their heartbeats are watched.
    There is one such monitor per user (per run directory). At startup it reports the crashes that
    happened while no monitor was running.
    """
    from perimortem.cli.listener import ConsoleListener
    from perimortem.cli.settings import build_settings
    from perimortem.cli.store_place import find_place
    from perimortem.config.resolve import resolve
    from perimortem.monitor.serve import serve

    resolved = resolve(collect_flags(options), config)
    settings = build_settings(resolved)
    listener = ConsoleListener(
        quiet=resolved["quiet"],
        as_json=as_json,
        shares_terminal=False,
        redact=resolved["redact"],
    )
    serve(settings, listener, find_place(settings, resolved), exit_when_idle=exit_when_idle)
    return 0
