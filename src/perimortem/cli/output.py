"""Where messages go: reports to stderr (stdout belongs to the target), in colour on a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perimortem.cli.terminal_text import echo_text
from perimortem.errors import PerimortemError

if TYPE_CHECKING:
    from perimortem.documents.base import Document
    from perimortem.documents.report import Report

_BINARY = getattr(os, "O_BINARY", 0)
"""On Windows; Python itself ends the lines there."""
_COLOURS = {
    "clean-exit": "green",
    "stopped": "green",
    "launch-failed": "yellow",
    "unknown": "yellow",
}


def say(text: str, *, nl: bool = True) -> None:
    """A line on stderr. If its reader is gone or it is closed, the watch continues."""
    try:
        click.echo(text, err=True, nl=nl)
    except (OSError, ValueError, AttributeError):
        return


def echo_account(report: Report, *, with_stacks: bool = True) -> None:
    """The report of an incident, on stderr."""
    from perimortem.report.text import render_account, render_headline

    headline = click.style(
        render_headline(report), fg=_COLOURS.get(report.verdict, "red"), bold=True
    )
    say(f"perimortem: {headline}")
    is_plain = report.verdict == "clean-exit" and not report.hangs and report.id is not None
    if not is_plain:
        with suppress(OSError, ValueError, AttributeError):  # as in say()
            echo_text(render_account(report, with_stacks=with_stacks), err=True)


def echo_json(values: Any) -> None:
    """On stdout, in ASCII."""
    click.echo(json.dumps(values, indent=2))


def echo_document(document: Document, *, err: bool = False) -> None:
    """As JSON."""
    from perimortem.documents.base import encode

    text = encode(document, indent=2)
    if err:
        say(text)
    else:
        click.echo(text)


def echo_documents(documents: Sequence[Document]) -> None:
    """As a JSON array, on stdout."""
    import msgspec

    echo_json(msgspec.to_builtins(documents))


def write_report(path: Path, report: Report) -> None:
    """Write the JSON report, completely or not at all."""
    from perimortem.documents.base import encode

    write_whole(path, encode(report, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Replace the file atomically; only its owner may read it, no matter what the umask and the former
    file allowed. Raises PerimortemError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # of a run that was killed; or another's link
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise PerimortemError(
            f"cannot write the report {path}", why=error.strerror or str(error)
        ) from error
