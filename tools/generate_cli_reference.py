"""Write docs/reference/cli.md from the commands themselves; with --check, compare it.

python tools/generate_cli_reference.py [--check]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from perimortem.cli.main import cli

PATH = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

Made from the commands themselves by `tools/generate_cli_reference.py`. Each command prints the same with
`--help`; settings can also come from the environment and from files (`perimortem config` shows which).
"""


def walk(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    """A command and all below it, in the order of its help."""
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, click.Context(below, parent=context, info_name=name))


def read_commands() -> list[tuple[click.Context, click.Command]]:
    """Every command, the group itself first."""
    return list(walk(cli, click.Context(cli, info_name="perimortem", **cli.context_settings)))


def read_usage(command: click.Command, context: click.Context) -> str:
    """`perimortem run [OPTIONS] COMMAND...`"""
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def read_options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    """Each option as its help names it, and what it does."""
    options = (p for p in command.get_params(context) if isinstance(p, click.Option))
    records = (option.get_help_record(context) for option in options)
    return [record for record in records if record is not None]


def read_text(text: str | None) -> str:
    """Help without the marks that click reads."""
    return inspect.cleandoc(text or "").replace("\b\n", "").replace("\f", "").strip()


def _render(command: click.Command, context: click.Context) -> str:
    lines = [f"## {context.command_path}", "", read_text(command.help), ""]
    lines += [f"    {read_usage(command, context)}", ""]
    if isinstance(command, click.Group):
        lines += ["| command | |", "|---|---|"]
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            place = f"{context.command_path} {name}".replace(" ", "-")
            summary = below.get_short_help_str(limit=200)
            lines.append(f"| [`{name}`](#{place}) | {_escape(summary)} |")
        lines.append("")
    lines += ["| option | |", "|---|---|"]
    lines += [
        f"| `{_escape(name)}` | {_escape(text)} |" for name, text in read_options(command, context)
    ]
    lines.append("")
    if command.epilog:
        lines += [f"    {line}".rstrip() for line in read_text(command.epilog).splitlines()]
        lines.append("")
    return "\n".join(lines)


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def make_reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_render(command, context) for context, command in read_commands())])


def main() -> int:
    text = make_reference()
    if "--check" not in sys.argv:
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(text, encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(f"{PATH.name} is not what the commands say (python tools/generate_cli_reference.py)")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
