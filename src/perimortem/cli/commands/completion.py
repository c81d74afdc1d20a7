"""``perimortem completion``."""

from __future__ import annotations

import sys

import click

EXAMPLES = """\b
Examples:
  perimortem completion bash > ~/.local/share/bash-completion/completions/perimortem
  perimortem completion zsh > ~/.zfunc/_perimortem      (with ~/.zfunc in fpath, before compinit)
  perimortem completion fish > ~/.config/fish/completions/perimortem.fish

\b
For this shell only:
  eval "$(perimortem completion bash)"

\b
The script asks perimortem itself at each completion, by the variable _PERIMORTEM_COMPLETE."""

COMPLETE_VARIABLE = "_PERIMORTEM_COMPLETE"
"""What click looks for in the environment of a program that is called perimortem."""


@click.command("completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the script by which SHELL completes commands and options."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(context.find_root().command, {}, "perimortem", COMPLETE_VARIABLE)
    # Not source(): for bash it would ask the installed bash for its version.
    script = completion.source_template % completion.source_vars()
    if shell == "bash":  # where we know nothing, as for the command of `run`: file names
        script = script.replace("complete -o nosort", "complete -o nosort -o default")
    sys.stdout.write(script.strip() + "\n")
    return 0
