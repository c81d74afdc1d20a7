"""Options that several commands share, and their parsing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from perimortem.model.dump import NAMED_TYPES, MinidumpType
from perimortem.watch.policy import SECOND_NS, WatchPolicy

_F = TypeVar("_F", bound=Callable[..., Any])


class DumpType(click.ParamType[MinidumpType]):
    """mini, full, or a MINIDUMP_TYPE mask such as 0x1105."""

    name = "TYPE"

    def convert(self, value: Any, param: Any, ctx: Any) -> MinidumpType:
        if isinstance(value, MinidumpType):
            return value
        if value in NAMED_TYPES:
            return NAMED_TYPES[value]
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}", value):
            return MinidumpType(int(value, 16))
        self.fail(f"'{value}' is not a dump type: mini, full, or a mask like 0x1105", param, ctx)


class DumpTypeOrNone(DumpType):
    """A dump type, or none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return value if value in (None, "none") else super().convert(value, param, ctx)


class Pid(click.IntRange):
    """A process id."""

    name = "PID"

    def __init__(self) -> None:
        super().__init__(min=1)


class Threshold(click.ParamType[tuple[str, float]]):
    """SECONDS, or HEARTBEAT=SECONDS."""

    name = "[HEARTBEAT=]SECONDS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        name, _, seconds = value.rpartition("=")
        try:
            number = float(seconds)
        except ValueError:
            number = 0.0
        if not 0.01 <= number <= 1e6:
            self.fail(f"'{seconds}' is not a number of seconds from 0.01 to 1000000", param, ctx)
        return name, number


def json_option(function: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(
        function
    )


def watch_options(function: _F) -> _F:
    """The limits and choices of `run` and `watch`."""
    options = (
        click.option(
            "--threshold",
            type=Threshold(),
            multiple=True,
            help="No beat for so long is a hang (default 10); may be given per heartbeat. Without a "
            "name at least 3 for process and python, which beat once a second; by name at least 1.5.",
        ),
        click.option(
            "--grace",
            type=click.FloatRange(0, 1e6),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="Time for the first beat of a heartbeat.",
        ),
        click.option(
            "--dump-type",
            type=DumpTypeOrNone(),
            default="mini",
            show_default=True,
            help="Dump taken of a hang: none, mini, full, or a mask like 0x1105.",
        ),
        click.option("--no-stacks", is_flag=True, help="Do not run gdb or pystack on a hang."),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="Print only the account of an end that was not clean.",
        ),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


def build_policy(thresholds: tuple[tuple[str, float], ...], grace_s: float) -> WatchPolicy:
    """Limits from --threshold (with and without a heartbeat's name) and --grace."""
    named = {name: int(seconds * SECOND_NS) for name, seconds in thresholds if name}
    plain = [int(seconds * SECOND_NS) for name, seconds in thresholds if not name]
    default = plain[-1] if plain else 10 * SECOND_NS
    return WatchPolicy(
        threshold_ns=default,
        grace_ns=int(grace_s * SECOND_NS),
        threshold_of_ns=named,
    )


def check_report_path(path: Path | None) -> None:
    """Before anything is started: a report that cannot be written is found out now."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise click.BadParameter(f"cannot write {path}", param_hint="--report")
