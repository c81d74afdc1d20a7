"""All settings: name, default, and how a value is read from TOML or from text. Pure."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perimortem.config.units import Size, parse_size, parse_time_span
from perimortem.model.dump import NAMED_TYPES, DumpFormat, Pause

THRESHOLD_S = (0.01, 1e6)
ON_HANG = ("report", "abort", "kill")
BEAT_SOURCES = ("agent", "progress", "sd-notify", "output", "window")


class WrongValue(Exception):
    """``str(error)`` says what was expected."""


@dataclass(frozen=True)
class Key:
    """One setting. ``read`` takes what TOML gave, or text from the environment."""

    name: str
    default: Any
    read: Callable[[Any], Any]
    help: str

    @property
    def variable(self) -> str:
        """PERIMORTEM_DUMP_TYPE for dump-type."""
        return "PERIMORTEM_" + self.name.upper().replace("-", "_")


def read_thresholds(value: Any) -> dict[str, float]:
    """10, "5,render=0.5", or a table {default = 10, render = 0.5}; "" is the name of the default."""
    if isinstance(value, dict):
        return {"" if k == "default" else k: read_seconds(v) for k, v in value.items()}
    if isinstance(value, str):
        found = {}
        for part in value.split(","):
            name, _, seconds = part.strip().rpartition("=")
            found[name] = read_seconds(seconds)
        return found
    return {"": read_seconds(value)}


def read_seconds(value: Any) -> float:
    """A number of seconds that makes sense as a threshold."""
    least, most = THRESHOLD_S
    number = _read_number(value)
    if not least <= number <= most:
        raise WrongValue(f"a number of seconds from {least} to {most:.0f}")
    return number


def read_grace(value: Any) -> float:
    number = _read_number(value)
    if not 0 <= number <= THRESHOLD_S[1]:
        raise WrongValue("a number of seconds from 0 to 1000000")
    return number


def read_flag(value: Any) -> bool:
    """true and false; as text also 1, 0, yes, no, on, off."""
    words = {
        "true": True, "1": True, "yes": True, "on": True,
        "false": False, "0": False, "no": False, "off": False,
    }  # fmt: skip
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise WrongValue("true or false")


def read_beat_sources(value: Any) -> tuple[str, ...]:
    """A list, or text with commas."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise WrongValue("a list of agent, progress, sd-notify, output, window, file:PATH")
    return tuple(read_beat_source(one) for one in given)


def read_beat_source(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if text in BEAT_SOURCES or (text.startswith("file:") and len(text) > len("file:")):
        return text
    raise WrongValue("agent, progress, sd-notify, output, window or file:PATH")


def read_dump_type(value: Any) -> str:
    """Kept as text: none, a name (mini, miniplus, triage, full), or a mask like 0x1105."""
    text = f"{value:#x}" if isinstance(value, int) and value >= 0 else str(value)
    is_mask = text[:2].lower() == "0x" and _is_hex(text[2:])
    if text == "none" or text in NAMED_TYPES or is_mask:
        return text
    raise WrongValue(f"none, {', '.join(NAMED_TYPES)}, or a mask like 0x1105")


def read_size(value: Any) -> Size:
    """Bytes as a number; or text: 2G, 500M, 10%."""
    size = parse_size(str(value)) if isinstance(value, int | str) else None
    if size is None or isinstance(value, bool):
        raise WrongValue("a size like 2G, 500M or 10%")
    return size


def read_memory(value: Any) -> int:
    """Bytes as a number; or text: 512M, 2G."""
    size = parse_size(str(value)) if isinstance(value, int | str) else None
    if size is None or not size.size_bytes or isinstance(value, bool):
        raise WrongValue("a size like 512M or 2G")
    return size.size_bytes


def read_time_span(value: Any) -> float:
    """Seconds as a number; or text: 12h, 30d."""
    if isinstance(value, str):
        seconds = parse_time_span(value)
    else:
        seconds = None if isinstance(value, bool) else _read_number(value)
    if seconds is None or seconds < 0:
        raise WrongValue("a time like 12h or 30d")
    return seconds


def read_count(value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= 1_000_000 or isinstance(value, bool):
        raise WrongValue("a number from 0 to 1000000")
    return number


def read_path(value: Any) -> str:
    if isinstance(value, str) and os.path.isabs(value) and "\0" not in value:
        return value
    raise WrongValue("an absolute path")


def choice_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise WrongValue(" or ".join(words))
        return str(value)

    return read


def _read_number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongValue("a number of seconds") from error


def _is_hex(text: str) -> bool:
    return 0 < len(text) <= 8 and all(c in "0123456789abcdefABCDEF" for c in text)


KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("threshold", {"": 10.0}, read_thresholds, "time without a beat that counts as a hang"),
        Key("grace", 60.0, read_grace, "time for the first beat of a heartbeat"),
        Key(
            "quiet-after",
            60.0,
            read_grace,
            "time after which threads that probably do not continue are mentioned; 0: never",
        ),
        Key("on-hang", "report", choice_of(*ON_HANG), "action on a hang"),
        Key("beat-from", (), read_beat_sources, "additional heartbeat sources"),
        Key("dump-type", "mini", read_dump_type, "dump taken of a crash or a hang"),
        Key("pause", "stop", choice_of(*Pause), "effect of a dump on its target"),
        Key("dump-format", "minidump", choice_of(*DumpFormat), "file format of dumps"),
        Key("compress", False, read_flag, "compress dumps with zstd"),
        Key(
            "include-dontdump",
            False,
            read_flag,
            "include memory that the program marked MADV_DONTDUMP in dumps",
        ),
        Key(
            "dumps-per-hour",
            3,
            read_count,
            "dumps of one kind of crash or hang; further ones are counted",
        ),
        Key(
            "incidents-per-hour",
            100,
            read_count,
            "incidents of one program that are stored; further ones are counted",
        ),
        Key(
            "max-use",
            None,
            read_size,
            "limit of all stored data (default 2 GiB, or 10% of a small disk)",
        ),
        Key("keep-free", None, read_size, "disk space kept free (default 5%)"),
        Key(
            "max-age",
            30 * 86400.0,
            read_time_span,
            "age limit of dumps, except the newest of a kind",
        ),
        Key("stacks", True, read_flag, "examine the stacks of a hang and of a crash"),
        Key(
            "examine-memory",
            512 << 20,
            read_memory,
            "memory that an examination may take",
        ),
        Key("agent", True, read_flag, "preload the agent (run)"),
        Key("crash-handler", True, read_flag, "report and dump crashes as they happen (run)"),
        Key("follow", True, read_flag, "watch the command's descendants, too (run)"),
        Key(
            "capture-exit",
            False,
            read_flag,
            "dump the command as it exits, for any cause (run)",
        ),
        Key(
            "keep-output",
            False,
            read_flag,
            "keep the end of the command's standard error, also if it is no file (run)",
        ),
        Key("pty", False, read_flag, "give the command a pseudo-terminal for its output (run)"),
        Key("wait", "command", choice_of("command", "all"), "until when `run` watches"),
        Key("propagate-signal", False, read_flag, "die by the signal that ended the command (run)"),
        Key("redact", True, read_flag, "replace secrets in reports by [redacted]"),
        Key("quiet", False, read_flag, "print only reports of unclean ends"),
        Key("run-dir", None, read_path, "where agents leave their recorders"),
        Key("data-dir", None, read_path, "where incidents and dumps are kept"),
    )
}
