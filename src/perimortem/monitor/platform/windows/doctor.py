"""What this machine and user permit. Where possible, checks try it rather than look it up."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform == "win32"

from perimortem.agent.library import find_library
from perimortem.dumping.windows.pss import PssCaptureSnapshot
from perimortem.exits.windows.etw_session import IS_TAKEN, try_session
from perimortem.exits.windows.event_log import try_event_log
from perimortem.monitor.doctor import Check, better, check_loop, check_run_dir, check_store, needed
from perimortem.winapi.token import enable_debug_privilege, is_elevated, read_integrity_level

_ETW_REMEDY = "run as administrator; logman query -ets lists the running sessions"


def examine() -> list[Check]:
    """Every check, in the order of the main job."""
    checks: tuple[Callable[[], Check], ...] = (
        _check_agent,
        check_run_dir,
        check_store,
        check_loop,
        _check_dbghelp,
        _check_snapshots,
        _check_rights,
        _check_etw,
        _check_event_log,
    )
    return [check() for check in checks]


def _check_agent() -> Check:
    library = find_library()
    if library is None:
        return needed("agent", False, "perimortem.dll is not built", "pip install .")
    return needed("agent", True, str(library))


def _check_dbghelp() -> Check:
    try:
        from perimortem.dumping.windows import dbghelp  # noqa: F401
    except (OSError, AttributeError) as error:
        return needed("dumps", False, f"DbgHelp cannot be used: {error}", "repair Windows")
    return needed("dumps", True, "DbgHelp writes them")


def _check_snapshots() -> Check:
    if PssCaptureSnapshot is None:
        return better(
            "snapshots",
            False,
            "no PssCaptureSnapshot: a target is paused for the whole dump",
            "available since Windows 8.1",
        )
    return better("snapshots", True, "a target is paused for its clone only")


def _check_rights() -> Check:
    level = read_integrity_level(None)
    word = level.word if level else "unknown"
    if is_elevated() and enable_debug_privilege():
        return better("dump of others", True, f"administrator, integrity level {word}")
    return better(
        "dump of others",
        False,
        f"your own processes only (integrity level {word})",
        "run perimortem as administrator",
    )


def _check_etw() -> Check:
    why = try_session()
    if why and why != IS_TAKEN:
        return better("exit codes of others", False, f"ETW: {why}", _ETW_REMEDY)
    return better("exit codes of others", True, "ETW reports the exit of any process")


def _check_event_log() -> Check:
    why = try_event_log()
    if why:
        return better(
            "event log",
            False,
            f"cannot be read: {why}",
            "run as administrator, or start the service EventLog",
        )
    return better("event log", True, "Application Error and Hang are read from it")
