"""Write a man page for each command: `python tools/generate_man_pages.py [FOLDER]` (build/man).

Sections and macros as man-pages(7) and man(7) describe them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from generate_cli_reference import read_commands, read_options, read_text, read_usage

from perimortem import __version__

FILES = """\
.TP
.I /etc/perimortem/config.toml
Settings for all users.
.TP
.I ~/.config/perimortem/config.toml
Settings of one user.
.TP
.I /var/lib/perimortem
Incidents and dumps of root.
.TP
.I ~/.local/share/perimortem
Incidents and dumps of a user; PERIMORTEM_DATA_DIR names another place."""


def escape(text: str) -> str:
    """As troff takes it: backslashes, hyphens that can be searched for, lines that begin with a dot."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in text.split("\n"))


def render_page(command: click.Command, context: click.Context) -> str:
    """One page of section 1."""
    name = context.command_path.replace(" ", "-")
    summary, _, rest = read_text(command.help).partition("\n\n")
    lines = [
        f'.TH "{name.upper()}" 1 "" "perimortem {__version__}" "perimortem manual"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(' '.join(summary.split()).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {escape(context.command_path)}",
        escape(read_usage(command, context).removeprefix(context.command_path).strip()),
        ".SH DESCRIPTION",
        *_render_paragraphs(f"{summary}\n\n{rest}"),
    ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for below_name in command.list_commands(context):
            below = command.get_command(context, below_name)
            assert below is not None
            page = f"{name}-{below_name}"
            lines += [".TP", f".BR {escape(page)} (1)", escape(below.get_short_help_str(limit=200))]
    lines.append(".SH OPTIONS")
    for option, text in read_options(command, context):
        lines += [".TP", f".B {escape(option)}", escape(" ".join(text.split()))]
    if command.epilog:
        lines += [".SH NOTES", ".nf", escape(read_text(command.epilog)), ".fi"]
    lines += [".SH FILES", FILES]
    if context.parent is not None:
        parent = context.parent.command_path.replace(" ", "-")
        lines += [".SH SEE ALSO", f".BR {escape(parent)} (1)"]
    return "\n".join(lines) + "\n"


def _render_paragraphs(text: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    return [line for part in paragraphs for line in (".PP", escape(part))]


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/man")
    folder.mkdir(parents=True, exist_ok=True)
    for context, command in read_commands():
        path = folder / f"{context.command_path.replace(' ', '-')}.1"
        path.write_text(render_page(command, context), encoding="utf-8")
    print(f"{folder}/perimortem.1 and its like")
    return 0


if __name__ == "__main__":
    sys.exit(main())
