"""``perimortem analyze FILE``."""

from __future__ import annotations

from pathlib import Path

import click

from perimortem.cli.examining import make_options, open_examination, symbol_options
from perimortem.cli.options import json_option

EXAMPLES = """\b
Examples:
  perimortem analyze server-1795262643-48213.dmp
  perimortem analyze core.4711 --symbols ./build
  perimortem analyze --json *.dmp | jq -r '.signature.text' | sort | uniq -c"""


@click.command("analyze", epilog=EXAMPLES)
@symbol_options
@json_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def command(
    files: tuple[str, ...],
    symbol_dirs: tuple[Path, ...],
    debuginfod: bool,
    no_lines: bool,
    no_python: bool,
    as_json: bool,
) -> int:
    """Say why a process crashed or hangs: what it did, to what memory, where, and whom to look at.

    FILE is a minidump of any writer or an ELF core; a process id works, too. The signature is the same
    for crashes of one cause. Of several files each has its account, or its JSON document.
    """
    from perimortem.cli.output import echo_json, say
    from perimortem.errors import PerimortemError
    from perimortem.report.examination.document import render_examination
    from perimortem.report.examination.text import render_analysis

    options = make_options(
        symbol_dirs, debuginfod=debuginfod, no_lines=no_lines, no_python=no_python
    )
    failed = 0
    for what in files:
        try:
            with open_examination(what, options) as examination:
                document = render_examination(examination)
        except PerimortemError as error:
            if len(files) == 1:
                raise
            say(f"perimortem: {error}")
            failed += 1
            continue
        if as_json:
            echo_json({"file": what, **document})
            continue
        if len(files) > 1:
            click.echo(f"{what}:")
        click.echo(render_analysis(document, name=what), nl=False)
    return 1 if failed else 0
