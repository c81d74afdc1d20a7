"""Run the command line as a separate process, and take its JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from perimortem.errors import PerimortemError

_PREFIX = "perimortem: "


def make_command(*arguments: str) -> list[str]:
    """The argument vector of ``perimortem ARGUMENTS`` by this interpreter.

    -P: the current directory may be another user's, with another perimortem in it."""
    return [sys.executable, "-P", "-m", "perimortem", *arguments]


def make_environment(environment: Mapping[str, str] | None) -> dict[str, str] | None:
    """``environment`` with what perimortem itself is configured by here; None: that of the caller."""
    if environment is None:
        return None
    own = {k: v for k, v in os.environ.items() if k.startswith("PERIMORTEM_")}
    return {**own, **environment}


def ask(arguments: Sequence[str]) -> Any:
    """The JSON that a command prints. Raises PerimortemError with what it said."""
    done = subprocess.run(
        make_command(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise make_error(done.stderr)
    return json.loads(done.stdout)


def make_error(stderr: bytes) -> PerimortemError:
    """What a command said before it failed."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return PerimortemError(last.removeprefix(_PREFIX).removeprefix("Error: "))
