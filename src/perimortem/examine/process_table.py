"""Every process of this machine, as the list that chains are derived from."""

from __future__ import annotations

import shlex

from perimortem.clock import SystemClock
from perimortem.errors import ProcessGone
from perimortem.model.chain import ListedProcess
from perimortem.proc import find_process, list_processes, read_stat
from perimortem.reading import ProcessReader

_PATIENCE_S = 1.0
"""For each process. Arbitrary."""


def collect_process_table() -> list[ListedProcess]:
    """Without processes that go away meanwhile, and command lines that cannot be read."""
    reader = ProcessReader(SystemClock())
    try:
        return _collect(reader)
    finally:
        reader.close()


def _collect(reader: ProcessReader) -> list[ListedProcess]:
    found = []
    for pid, names in list_processes():
        facts = read_stat(pid)
        if facts is None:
            continue
        try:
            process = find_process(pid)
            target = reader.collect_process_info(process, _PATIENCE_S)
        except ProcessGone:
            continue
        found.append(
            ListedProcess(
                pid=pid,
                parent_pid=facts.parent_pid,
                name=_choose_name(target.executable, target.name, names),
                command_line=shlex.join(target.command_line),
                created=process.start_time_ticks,
            )
        )
    return found


def _choose_name(executable: str | None, name: str, names: set[str]) -> str:
    """The kernel's name is cut to 15 characters; the file's is complete."""
    full = executable.replace("\\", "/").rsplit("/", 1)[-1] if executable else ""
    return full if full and (full in names or full.startswith(name)) else name
