"""Read settings from files and from the environment; errors name the place of the key or value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perimortem.config.keys import KEYS, WrongValue
from perimortem.errors import UsageError

_SIZE_MAX = 1 << 20


@dataclass(frozen=True)
class Value:
    """A setting and its origin: "default", "--grace", "PERIMORTEM_GRACE", "FILE:LINE"."""

    value: Any
    origin: str


Layer = dict[str, Value]
"""Settings by name; for ``threshold`` each heartbeat separately: "threshold.render"."""


def read_file(path: Path) -> Layer:
    """Raises :class:`UsageError` that names file and line."""
    try:
        if path.stat().st_size > _SIZE_MAX:
            raise UsageError(f"{path} is too large for settings", why="over 1 MiB")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the settings {path}", why=why) from error
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and integers without end
        remedy = "Windows paths belong in 'single quotes'" if "hex value" in str(error) else ""
        raise UsageError(
            f"{path} is not valid TOML", why=str(error)[:200], remedy=remedy
        ) from error
    layer: Layer = {}
    for name, given in document.items():
        place = f"{path}:{_find_line(text, name)}"
        key = KEYS.get(name.replace("_", "-"))
        if key is None:
            raise UsageError(
                f"{place}: there is no setting '{name[:40]}'", remedy="perimortem config lists them"
            )
        try:
            value = key.read(given)
        except WrongValue as error:
            raise UsageError(
                f"{place}: {name} must be {error}", why=f"it is {_shorten(given)}"
            ) from error
        default = "default" if isinstance(given, dict) else name
        lines = {part: _find_line(text, part or default) for part in ("", *_parts(value))}
        layer |= _spread(key.name, value, lambda part, at=lines: f"{path}:{at.get(part, at[''])}")
    return layer


def read_environment(environment: Mapping[str, str]) -> Layer:
    """PERIMORTEM_GRACE and so on; an empty variable counts as unset."""
    layer: Layer = {}
    for key in KEYS.values():
        text = environment.get(key.variable)
        if not text:
            continue
        try:
            layer |= _spread(key.name, key.read(text), lambda _part, v=key.variable: v)
        except WrongValue as error:
            raise UsageError(
                f"{key.variable} must be {error}", why=f"it is '{text[:60]}'"
            ) from error
    return layer


def read_flags(flags: Mapping[str, Any]) -> Layer:
    """The options given on the command line; None: not given."""
    layer: Layer = {}
    for name, value in flags.items():
        if value is not None:
            layer |= _spread(name, value, lambda _part, n=name: f"--{n}")
    return layer


def defaults() -> Layer:
    layer: Layer = {}
    for key in KEYS.values():
        layer |= _spread(key.name, key.default, lambda _part: "default")
    return layer


def _shorten(given: Any) -> str:
    try:
        return f"{given!r:.60}"
    except ValueError:
        return "an integer without end"


def _parts(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _spread(name: str, value: Any, origin: Any) -> Layer:
    if name != "threshold":
        return {name: Value(value, origin(name))}
    return {
        f"threshold.{heartbeat}" if heartbeat else "threshold": Value(seconds, origin(heartbeat))
        for heartbeat, seconds in value.items()
    }


def _find_line(text: str, name: str) -> int:
    """The line on which a key or table of that name begins; TOML's parser does not provide it."""
    pattern = re.compile(rf"""^\s*(\[\s*)?["']?{re.escape(name)}["']?\s*[]=.]""")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return number
    return 1
