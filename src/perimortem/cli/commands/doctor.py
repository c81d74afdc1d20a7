"""``perimortem doctor``."""

from __future__ import annotations

from dataclasses import asdict

import click

from perimortem.cli.options import json_option


@click.command("doctor", epilog="\b\nExamples:\n  perimortem doctor\n  perimortem doctor --json")
@json_option
def command(as_json: bool) -> int:
    """Check what this machine and user allow, with a remedy for each "no".

    Exit status 1 if something essential is missing.
    """
    from perimortem.cli.output import echo_json
    from perimortem.monitor.doctor import Importance
    from perimortem.monitor.platform.doctor import examine

    checks = examine()
    failed = any(not check.ok and check.importance is Importance.NEEDED for check in checks)
    if as_json:
        echo_json([asdict(check) for check in checks])
        return int(failed)
    for check in checks:
        word = "yes" if check.ok else "NO " if check.importance is Importance.NEEDED else "no "
        colour = (
            "green" if check.ok else "red" if check.importance is Importance.NEEDED else "yellow"
        )
        click.echo(f"{click.style(word, fg=colour)}  {check.name:<22} {check.finding}")
        if not check.ok and check.remedy:
            click.echo(f"     {'':<22} remedy: {check.remedy}")
    return int(failed)
