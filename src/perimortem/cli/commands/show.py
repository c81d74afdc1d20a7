"""``perimortem show ID``."""

from __future__ import annotations

import click

from perimortem.cli.options import json_option

EXAMPLES = """\b
Examples:
  perimortem show 17
  perimortem show 17 --json > incident.json"""


@click.command("show", epilog=EXAMPLES)
@json_option
@click.argument("number", metavar="[ID]", required=False, type=click.IntRange(min=1))
def command(number: int | None, as_json: bool) -> int:
    """Show one incident with all its evidence, events and stacks; without ID the newest."""
    from perimortem.cli.data_dir import find_configured_data_dir
    from perimortem.cli.output import echo_json
    from perimortem.errors import PerimortemError
    from perimortem.report.text import render_account, render_headline
    from perimortem.store.database import Store

    with Store(find_configured_data_dir() / "incidents.db") as store:
        if number is None:
            newest = store.list_incidents(with_clean=True, limit=1)
            number = newest[-1].number if newest else 0
        report = store.find(number)
    if report is None:
        raise PerimortemError(f"there is no incident {number}", remedy="perimortem list --all")
    if as_json:
        echo_json(report)
    else:
        click.echo(f"{number}: {click.style(render_headline(report), bold=True)}")
        click.echo(render_account(report, full=True), nl=False)
    return 0
