"""``perimortem show ID``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perimortem.cli.examining import write_page
from perimortem.cli.options import choose_redact, json_option, redact_option

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination
    from perimortem.documents.inventory import Inventory
    from perimortem.documents.report import Report

EXAMPLES = """\b
Examples:
  perimortem show 17
  perimortem show 17 --json > incident.json
  perimortem show 17 --html incident.html
  perimortem show 17 --share --html to-send.html"""


class _IncidentNumber(click.IntRange):
    """The number of an incident."""

    name = "ID"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str) and not value.isdecimal():
            shown = value[:40]
            self.fail(
                f"'{shown}' is not the number of an incident (by name: perimortem list {shown})",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


@click.command("show", epilog=EXAMPLES)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write an HTML page instead: timeline, stacks, locks, modules, memory; no network.",
)
@click.option(
    "--share",
    "shared",
    is_flag=True,
    help="Reduce it to what can be given away: without names of host and users, directories, values of "
    "arguments, payloads of events, names of threads (docs/secrets.md). Works with --json and --html, "
    "too.",
)
@redact_option
@json_option
@click.argument("number", metavar="[ID]", required=False, type=_IncidentNumber(min=1))
def command(
    number: int | None, page: Path | None, shared: bool, no_redact: bool, as_json: bool
) -> int:
    """Show one incident with all its evidence, events and stacks; without ID, the newest in `list`."""
    from perimortem.api.incidents import incident
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.share import share
    from perimortem.report.text import render_account, render_headline

    if shared and no_redact:
        raise click.UsageError("--share and --no-redact exclude each other")
    redact = shared or choose_redact(no_redact)
    report = incident(number, redact=redact)
    if page is not None:
        return _write_page(page, report, redact=redact, shared=shared)
    if shared:
        report = share(report)[0]
    if as_json:
        echo_document(report)
    else:
        click.echo(f"{report.id}: {click.style(render_headline(report), bold=True)}")
        echo_text(render_account(report, full=True))
    return 0


def _write_page(page: Path, report: Report, *, redact: bool, shared: bool) -> int:
    """With everything in its dump, if that still exists.

    A crash dump is examined again, since more may be known by now. A hang was examined while the process
    was alive; its dump cannot add to that.
    """
    from perimortem.api.examining import open_examination, open_options
    from perimortem.cli.confined import BeforeParsing, examine_confined
    from perimortem.cli.output import say
    from perimortem.errors import PerimortemError
    from perimortem.report.examination.document import render_examination
    from perimortem.report.examination.inventory import render_inventory
    from perimortem.report.redact import redact_document
    from perimortem.report.share import share

    crash = report.examination
    of_hangs = [hang.examination for hang in report.hangs if hang.examination]
    known = crash or (of_hangs[-1] if of_hangs else None)
    paths = [dump.path for dump in report.dumps if dump.path]

    def write(examination: Examination | None, inventory: Inventory | None) -> None:
        parts = (report, examination, inventory)
        if redact:
            parts = (
                report,
                examination and redact_document(examination),
                inventory and redact_document(inventory),
            )
        write_page(page, *(share(*parts) if shared else parts))

    if not paths:
        write(known, None)
        return 0

    def examine(before_parsing: BeforeParsing) -> int:
        examination, inventory = known, None
        try:
            with (
                open_options((), lines=True, python=True, before_parsing=before_parsing) as options,
                open_examination(Path(paths[-1]), options) as found,
            ):
                if crash is not None or examination is None:
                    examination = render_examination(found)
                inventory = render_inventory(found.snapshot)
        except PerimortemError as error:
            say(f"  note: {error}")
        write(examination, inventory)
        return 0

    return examine_confined(examine, Path(paths[-1]), writable=(page.absolute().parent,))
