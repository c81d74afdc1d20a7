"""``perimortem explain CODE [SUBCODE]``."""

from __future__ import annotations

from dataclasses import asdict

import click

from perimortem.cli.options import json_option

EXAMPLES = """\b
Examples:
  perimortem explain 139
  perimortem explain -- -11
  perimortem explain SIGBUS
  perimortem explain 0xC0000409 7"""


@click.command("explain", epilog=EXAMPLES, context_settings={"ignore_unknown_options": True})
@json_option
@click.argument("code")
@click.argument("subcode", required=False)
def command(code: str, subcode: str | None, as_json: bool) -> int:
    """Say what an exit code, a signal or a Windows status means."""
    from perimortem.api.explaining import explain
    from perimortem.cli.output import echo_json

    explanation = explain(code, subcode)
    if as_json:
        echo_json(asdict(explanation))
        return 0
    shown = f"{explanation.code:#x}" if explanation.code > 0xFFFF else str(explanation.code)
    click.echo(f"{shown}  {explanation.name}: {explanation.meaning}")
    for line in (explanation.detail, *explanation.advice):
        if line:
            click.echo(f"  {line}")
    return 0
