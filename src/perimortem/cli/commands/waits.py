"""``perimortem waits [PID...]``."""

from __future__ import annotations

import click

from perimortem.cli.options import Pid, choose_redact, json_option, redact_option

EXAMPLES = """\b
Examples:
  perimortem waits 4711
  perimortem waits --tree 4711
  perimortem waits --tree 4711 --json | jq '.deadlocks'"""


@click.command("waits", epilog=EXAMPLES)
@click.option("--tree", is_flag=True, help="Also all that descend from these processes.")
@redact_option
@json_option
@click.argument("pids", metavar="PID...", type=Pid(), nargs=-1, required=True)
def command(pids: tuple[int, ...], *, tree: bool, no_redact: bool, as_json: bool) -> int:
    """Show what each thread waits for and who can end that, and find deadlocks.

    Within a process and across several: locks, joins, children, pipes, sockets of this machine, file
    locks, polls. Nothing is stopped. A deadlock is certain: everything that is not known, or is outside
    the given processes, counts as something that may go on.
    """
    from perimortem.api.waiting import waits
    from perimortem.cli.output import echo_document
    from perimortem.cli.terminal_text import echo_text
    from perimortem.report.redact import redact_document
    from perimortem.report.waits import render_waits_text

    document = waits(*pids, tree=tree)
    if choose_redact(no_redact):
        document = redact_document(document)
    if as_json:
        echo_document(document)
    else:
        echo_text(render_waits_text(document))
    return 0
