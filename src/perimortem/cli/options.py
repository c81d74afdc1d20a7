"""Options that several commands share, and their parsing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from perimortem.cli.param_type import ParamType
from perimortem.config.keys import (
    ON_HANG,
    WrongValue,
    read_dump_type,
    read_grace,
    read_thresholds,
)
from perimortem.model.dump import NAMED_TYPES, MinidumpType, Pause

_F = TypeVar("_F", bound=Callable[..., Any])


class DumpType(ParamType[MinidumpType]):
    """A name (mini, miniplus, triage, full), or a MINIDUMP_TYPE mask such as 0x1105."""

    name = "TYPE"

    def convert(self, value: Any, param: Any, ctx: Any) -> MinidumpType:
        if isinstance(value, MinidumpType):
            return value
        if value in NAMED_TYPES:
            return NAMED_TYPES[value]
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", value):
            return MinidumpType(int(value, 16))
        names = ", ".join(NAMED_TYPES)
        self.fail(f"'{value}' is not a dump type: {names}, or a mask like 0x1105", param, ctx)


class Pid(click.IntRange):
    """A process id."""

    name = "PID"

    def __init__(self, remedy: str = "ps -e lists them") -> None:
        """``remedy``: what to do instead of naming a process; {value} is the argument given."""
        super().__init__(min=1, max=0xFFFFFFFF)
        self._remedy = remedy

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]+", value):
            remedy = self._remedy.format(value=value[:40])
            self.fail(f"'{value[:40]}' is not a process id ({remedy})", param, ctx)
        return super().convert(value, param, ctx)


class Setting(ParamType[Any]):
    """A value as ``config.keys`` reads it."""

    def __init__(self, read: Callable[[Any], Any], name: str) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except WrongValue as error:
            self.fail(f"'{value}' is not {error}", param, ctx)


def json_option(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(
        function
    )


def dump_type_option(function: _F) -> _F:
    return click.option(
        "--type",
        "types",
        type=DumpType(),
        default="mini",
        show_default=True,
        help="mini (0x1105), miniplus, triage, full, or a MINIDUMP_TYPE mask.",
    )(function)


_BY_DEFAULT = "by default [redacted] stands for those that are recognised by name or notation."


def redact_option(function: _F) -> _F:
    return click.option(
        "--no-redact", is_flag=True, help=f"Show passwords, tokens and keys; {_BY_DEFAULT}"
    )(function)


def choose_redact(no_redact: bool) -> bool:
    """Whether to redact what is shown: by --no-redact, else by the settings. Raises UsageError."""
    from perimortem.config.resolve import resolve

    return bool(resolve({"redact": False if no_redact else None})["redact"])


PAUSE_HELP = (
    "Effect of a dump on the process: stop (default) freezes it while memory is copied; snapshot "
    "freezes it for the milliseconds of a copy-on-write clone and copies from that; none neither stops "
    "nor attaches: memory is read while it changes."
)


def watch_options(function: _F) -> _F:
    """The limits and choices of `run` and `watch`; options not given come from the settings."""
    options = (
        click.option(
            "--threshold",
            type=Setting(read_thresholds, "[HEARTBEAT=]SECONDS"),
            multiple=True,
            help="Seconds without a beat that count as a hang (default 10); may be given per heartbeat. "
            "Without a name at least 3 for process, progress and python, which are sampled once a "
            "second; by name at least 1.5.",
        ),
        click.option(
            "--grace",
            type=Setting(read_grace, "SECONDS"),
            help="Seconds allowed for the first beat of a heartbeat (default 60).",
        ),
        click.option(
            "--quiet-after",
            type=Setting(read_grace, "SECONDS"),
            help="Seconds after which threads that probably do not continue are mentioned, in one line "
            "(default 60; 0: never). That is no hang.",
        ),
        click.option(
            "--on-hang",
            type=click.Choice(ON_HANG),
            help="Action on a hang, after its dump: report (default), abort (SIGABRT, then "
            "SIGKILL after 10 s), kill; on Windows both are TerminateProcess. The exit status is then "
            "124.",
        ),
        click.option(
            "--dump-type",
            type=Setting(read_dump_type, "TYPE"),
            help="Dump to take of a crash or hang: none, mini (default), miniplus, triage, full, or a "
            "mask like 0x1105.",
        ),
        click.option(
            "--pause", type=click.Choice([str(pause) for pause in Pause]), help=PAUSE_HELP
        ),
        click.option(
            "--no-stacks",
            is_flag=True,
            help="Do not examine the stacks of a hang or the dump of a crash.",
        ),
        click.option(
            "--no-redact",
            is_flag=True,
            help=f"Keep passwords, tokens and keys in reports; {_BY_DEFAULT}",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="Print only reports of unclean ends.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="Settings as TOML (perimortem config lists them).",
        ),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def collect_flags(parameters: dict[str, Any]) -> dict[str, Any]:
    """The options given on the command line, by setting name; None: not given."""
    thresholds: dict[str, float] = {}
    for given in parameters.get("threshold", ()):
        thresholds |= given
    return {
        "threshold": thresholds or None,
        "grace": parameters.get("grace"),
        "quiet-after": parameters.get("quiet_after"),
        "on-hang": parameters.get("on_hang"),
        "beat-from": parameters.get("beat_from") or None,
        "dump-type": parameters.get("dump_type"),
        "pause": parameters.get("pause"),
        "stacks": False if parameters.get("no_stacks") else None,
        "agent": False if parameters.get("no_agent") else None,
        "crash-handler": False if parameters.get("no_crash_handler") else None,
        "follow": False if parameters.get("no_follow") else parameters.get("follow") or None,
        "capture-exit": parameters.get("capture_exit") or None,
        "pty": parameters.get("pty") or None,
        "keep-output": parameters.get("keep_output") or None,
        "wait": parameters.get("wait"),
        "propagate-signal": parameters.get("propagate_signal") or None,
        "redact": False if parameters.get("no_redact") else None,
        "quiet": parameters.get("quiet") or None,
    }


def check_report_path(path: Path | None) -> None:
    """Called before anything is started, so that an unwritable report path fails early."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise click.BadParameter(f"cannot write {path}", param_hint="--report")
