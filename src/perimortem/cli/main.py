"""``perimortem``: the group of commands, loaded late so that each starts fast."""

from __future__ import annotations

import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from io import TextIOWrapper

import click

from perimortem import __version__
from perimortem.cli.failures import report_failures

_COMMANDS = {
    "run": "Run a command, watch it, and report how it ended.",
    "watch": "Watch processes that run already.",
    "monitor": "Serve programs that attach themselves (libperimortem).",
    "dump": "Write a dump of a running process; it runs on.",
    "stack": "Show the stacks of a dump or a running process.",
    "analyze": "Say why a process crashed, from its dump.",
    "symbols": "Check which debug symbols a dump needs, and make symbol files.",
    "debug": "Open a debugger on a dump, at the right thread and frame.",
    "waits": "Show what threads wait for, across processes, and their deadlocks.",
    "chain": "Follow reporters that report reporters to the first fault.",
    "inspect": "List what is in a minidump.",
    "convert": "Rewrite a dump: minidump, ELF core, compressed or not.",
    "list": "List incidents.",
    "show": "Show one incident, whole.",
    "vacuum": "Remove the oldest dumps, down to the bounds.",
    "explain": "Say what an exit code means.",
    "config": "Show every setting and where it came from.",
    "system": "Have the system itself dump a program that crashes.",
    "doctor": "Check what this machine and user may do, with remedies.",
    "completion": "Print the script that completes commands in a shell.",
}
_ALIASES = {"dumpdebug": "inspect"}
_OTHER_WORDS = {
    "attach": "watch",
    "exec": "run",
    "gdb": "debug",
    "info": "show",
    "log": "show",
    "logs": "list",
    "ps": "list",
    "report": "show",
    "start": "run",
    "status": "list",
    "serve": "monitor",
}
"""What people type who come from other tools."""


class LazyGroup(click.Group):
    """Imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"perimortem.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Before it fails, ask what was meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(_suggest(name), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Without importing them all."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _suggest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, [*_COMMANDS, *_OTHER_WORDS], n=1)
    meant = _OTHER_WORDS.get(close[0], close[0]) if close else None
    hint = f"did you mean: perimortem {meant}" if meant else "perimortem --help lists them"
    return f"there is no command '{name[:40]}' ({hint})"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: perimortem run -- ./your-program",
)
@click.version_option(__version__, "-V", "--version", prog_name="perimortem")
def cli() -> None:
    """Why did my process die, or stop? Put `perimortem run --` before a command."""


def main() -> None:
    """Entry point. Errors are one line on stderr: 2 for misuse, 1 for failure, 125 in `run`."""
    arguments = _read_arguments(sys.argv[1:])
    _accept_any_text()
    is_run = bool(arguments) and arguments[0] == "run"
    with _hold_stderr() if arguments[:1] in (["run"], ["watch"], ["monitor"]) else nullcontext():
        status = report_failures(
            lambda: cli.main(args=arguments, prog_name="perimortem", standalone_mode=False),
            is_run=is_run,
        )
    sys.exit(_to_signed(status))


def _hold_stderr() -> AbstractContextManager[None]:
    from perimortem.cli.patient_stderr import patient_stderr

    return patient_stderr()


def _read_arguments(arguments: list[str]) -> list[str]:
    """`help`, `help run` and `version` are what many tools have."""
    if arguments[:1] == ["version"]:
        return ["--version"]
    if arguments[:1] == ["help"]:
        return [*arguments[1:2], "--help"]
    return arguments


def _to_signed(status: int) -> int:
    """Python takes a C long: all 32 bits of an exit code of Windows only with a sign."""
    return status - (1 << 32) if status >= 1 << 31 else status


def _accept_any_text() -> None:
    """On Windows a pipe takes the characters of one code page: others are shown escaped."""
    if sys.platform == "win32":
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
