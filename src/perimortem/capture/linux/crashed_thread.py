"""The crashed thread as it was at the fault: it now waits in the crash handler."""

from __future__ import annotations

import sys
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.model.crash import Crash
from perimortem.model.snapshot import ExceptionRecord, Registers
from perimortem.procfs.status import read_status


def return_to_crash(
    crash: Crash, pid: int, registers: dict[int, Registers | None], soft_errors: list[str]
) -> ExceptionRecord:
    """Replace the handler's registers by those of the fault, in ``registers`` by thread id.

    As in Breakpad: code is the signal, flags si_code, address the accessed address.
    """
    tid = _find_thread(crash.tid, pid, registers)
    now = registers.get(tid)
    if crash.registers is not None and "rip" in crash.registers.general:
        # Registers that a handler does not get (fs_base, gs_base, ds, es) stay as they are.
        general = (now.general if now else _NOTHING) | crash.registers.general
        floating = crash.registers.floating_point or (now.floating_point if now else None)
        registers[tid] = (
            replace(now, general=general, floating_point=floating)
            if now
            else Registers(general, floating)
        )
    else:
        soft_errors.append(
            "the registers of the fault are unknown: the thread is shown in the handler"
        )
    return ExceptionRecord(tid, crash.code, crash.si_code & 0xFFFFFFFF, crash.address)


_NOTHING = dict.fromkeys(("fs_base", "gs_base", "ds", "es", "orig_rax"), 0)


def _find_thread(reported_tid: int, pid: int, tids: dict[int, Registers | None]) -> int:
    """In a pid namespace the process knows its threads by other ids."""
    for tid in tids:
        status = read_status(pid, tid)
        if status is not None and status.numbers[-1:] == (reported_tid,):
            return tid
    return reported_tid
