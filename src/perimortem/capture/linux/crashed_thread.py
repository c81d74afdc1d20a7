"""The thread that crashed, as it was at the fault: now it stands in the handler that told us."""

from __future__ import annotations

import sys
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.model.crash import Crash
from perimortem.model.snapshot import ExceptionRecord, Registers


def return_to_crash(
    crash: Crash, pid: int, registers: dict[int, Registers | None], soft_errors: list[str]
) -> ExceptionRecord:
    """Put the registers of the fault in the place of the handler's, in ``registers`` by thread id.

    As Breakpad has it: code is the signal, flags si_code, address where the access went.
    """
    tid = _find_thread(crash.tid, pid, registers)
    now = registers.get(tid)
    if crash.registers is not None and "rip" in crash.registers.general:
        # What a handler is not told (fs_base, gs_base, ds, es) is as it was.
        general = (now.general if now else _NOTHING) | crash.registers.general
        floating = crash.registers.floating_point or (now.floating_point if now else None)
        registers[tid] = (
            replace(now, general=general, floating_point=floating)
            if now
            else Registers(general, floating)
        )
    else:
        soft_errors.append(
            "the registers of the fault were not told: the thread is shown in the handler"
        )
    return ExceptionRecord(tid, crash.code, crash.si_code & 0xFFFFFFFF, crash.address)


_NOTHING = dict.fromkeys(("fs_base", "gs_base", "ds", "es", "orig_rax"), 0)


def _find_thread(told_tid: int, pid: int, tids: dict[int, Registers | None]) -> int:
    """In a pid namespace of its own the process knows its threads by other numbers."""
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/status", encoding="ascii", errors="replace") as file:
                numbers = next((line for line in file if line.startswith("NSpid:")), "").split()
        except OSError:
            continue
        if numbers and numbers[-1] == str(told_tid):
            return tid
    return told_tid
