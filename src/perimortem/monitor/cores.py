"""A process that the kernel holds while dumping core: its crash, read from the core's notes."""

from __future__ import annotations

from pathlib import Path

from perimortem.elfcore.notes import HEAD_MAX, CoreNotes, read_notes
from perimortem.errors import MalformedInput
from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.proc import read_stat
from perimortem.reading import ProcessReader
from perimortem.text import printable
from perimortem.wire.layout import CORE_NOTES_NAME


def read_core(run_dir: Path, pid: int, now_ns: int, reader: ProcessReader) -> Crash:
    """From the notes that the core helper put into ``run_dir``. Raises MalformedInput, OSError."""
    path = run_dir / CORE_NOTES_NAME.format(pid=pid)
    if path.stat().st_size > HEAD_MAX:
        raise MalformedInput("the notes of a core are too large")
    return _derive_crash(read_notes(path.read_bytes()), pid, path, now_ns, reader)


def _derive_crash(
    notes: CoreNotes, pid: int, path: Path, now_ns: int, reader: ProcessReader
) -> Crash:
    thread, signal = notes.threads[0], notes.signal
    if signal is None:
        raise MalformedInput("the notes of a core name no signal")
    general = thread.registers.general
    module = reader.find_module(pid, general["rip"])
    facts = read_stat(pid)
    return Crash(
        code=signal.number,
        si_code=signal.si_code,
        tid=thread.tid,
        thread_name=printable(facts.name) if facts else "",
        address=signal.address,
        program_counter=general["rip"],
        stack_pointer=general["rsp"],
        monotonic_ns=now_ns,
        sender_pid=signal.sender_pid,
        sender_uid=signal.sender_uid,
        nested_code=None,
        nested_address=0,
        caller=ExitCaller.UNKNOWN,
        module=module[0] if module else None,
        module_offset=module[1] if module else 0,
        parameter=0,
        is_fatal=True,
        registers=thread.registers,
        core_notes=str(path),
    )
