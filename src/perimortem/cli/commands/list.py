"""``perimortem list``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from perimortem.cli.options import choose_redact, json_option, redact_option
from perimortem.errors import UsageError

if TYPE_CHECKING:
    from perimortem.documents.listing import ListedIncident
    from perimortem.store.database import IncidentRow, Store

EXAMPLES = """\b
Examples:
  perimortem list
  perimortem list --since 1h
  perimortem list --since 2026-11-20 --until 2026-11-21 server
  perimortem list 4711"""

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


@click.command("list", epilog=EXAMPLES)
@click.option("--since", metavar="TIME", help="Ended at or after: 30min, 1h, 2d, or a date.")
@click.option("--until", metavar="TIME", help="Ended at or before.")
@click.option("-a", "--all", "with_clean", is_flag=True, help="Include clean exits.")
@redact_option
@json_option
@click.argument("who", metavar="[PID|NAME]", required=False)
def command(
    since: str | None,
    until: str | None,
    with_clean: bool,
    no_redact: bool,
    as_json: bool,
    who: str | None,
) -> int:
    """List incidents, newest last."""
    from perimortem.api.incidents import open_store
    from perimortem.cli.output import echo_documents

    with open_store() as store:
        rows = store.list_incidents(
            since=_parse_time(since),
            until=_parse_time(until),
            pid=int(who) if who and who.isdigit() else None,
            name=who if who and not who.isdigit() else None,
            with_clean=with_clean,
        )
        if as_json:
            listed = [_extend(row, store) for row in rows]
            if choose_redact(no_redact):
                from perimortem.report.redact import redact_document

                listed = [redact_document(incident) for incident in listed]
            echo_documents(listed)
            return 0
    if not rows:
        click.echo(_describe_nothing(who, with_clean=with_clean), err=True)
        return 0
    for line in _render(rows):
        click.echo(line)
    return 0


def _extend(row: IncidentRow, store: Store) -> ListedIncident:
    """A row with the report's who, where and why."""
    from dataclasses import asdict

    from perimortem.documents.listing import ListedIncident
    from perimortem.errors import StoreError

    try:
        report = store.find(row.number)
    except StoreError:
        report = None  # a newer version wrote it
    examination = report.examination if report is not None else None
    reason = examination.reason if examination is not None else None
    signature = examination.signature if examination is not None else None
    return ListedIncident(
        **asdict(row),
        who=report.who if report is not None else None,
        where=report.where if report is not None else None,
        why=reason.text if reason is not None else None,
        signature=signature.text if signature is not None else None,
    )


def _describe_nothing(who: str | None, *, with_clean: bool) -> str:
    more = "" if with_clean else " (clean exits: --all)"
    if who is None:
        return "no incidents" + more
    if who.isdigit():
        return f"no incidents of a process with pid {who}{more}"
    return f'no incidents of a process named "{who}"{more}; for a time use --since 1d'


def _render(rows: list[IncidentRow]) -> list[str]:
    table = [("ID", "ENDED", "VERDICT", "PID", "NAME", "DUMP")]
    for row in rows:
        ended = datetime.fromisoformat(row.ended_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        pid = "-" if row.pid is None else str(row.pid)
        name = f"{row.name} (+{row.repeats:,})" if row.repeats else row.name
        table.append((str(row.number), ended, row.verdict, pid, name, "*" if row.has_dump else ""))
    widths = [max(len(line[i]) for line in table) for i in range(6)]
    return [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table
    ]


def _parse_time(text: str | None) -> str | None:
    """A point in time as the store writes it: RFC 3339 in UTC."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,9}) ?(s|min|m|h|d)(?: ago)?", text)
    if ago:
        moment = datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
    else:
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except ValueError as error:
            raise UsageError(
                f"'{text}' is not a time",
                remedy="examples: 30min, 2d, 2026-11-21, 2026-11-21T12:00",
            ) from error
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
