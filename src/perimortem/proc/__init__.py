"""Information about a process, which may be gone before the next query.

Only this file selects the system; ``linux`` and ``windows`` have the same names and arguments.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.proc.windows.activity import Activity, read_activity, read_retry
    from perimortem.proc.windows.callers import guess_caller
    from perimortem.proc.windows.children import find_newest_pid, list_children
    from perimortem.proc.windows.container import find_container
    from perimortem.proc.windows.environment import read_variables
    from perimortem.proc.windows.host import collect_host, own_uid
    from perimortem.proc.windows.memory import estimate_dump_bytes
    from perimortem.proc.windows.modules import find_module, maps_file
    from perimortem.proc.windows.numbers import list_numbers
    from perimortem.proc.windows.process_info import (
        collect_process_info,
        find_process,
        identify_process,
        leaves_by_own_system_call,
        refresh_executable,
        renew_process_info,
    )
    from perimortem.proc.windows.processes import list_ancestors, list_processes
    from perimortem.proc.windows.sample import (
        SOURCE,
        Sample,
        describe_state,
        is_stopped,
        take_sample,
    )
    from perimortem.proc.windows.stat import ProcessStat, read_stat
    from perimortem.proc.windows.thread_samples import sample_threads
    from perimortem.proc.windows.tracer import read_tracer
    from perimortem.proc.windows.unit import has_units, list_unit_processes
    from perimortem.proc.windows.waits import describe_stuck, is_waiting_for_child
else:
    from perimortem.proc.linux.activity import Activity, read_activity, read_retry
    from perimortem.proc.linux.callers import guess_caller
    from perimortem.proc.linux.children import find_newest_pid, list_children
    from perimortem.proc.linux.container import find_container
    from perimortem.proc.linux.environment import read_variables
    from perimortem.proc.linux.host import collect_host, own_uid
    from perimortem.proc.linux.memory import estimate_dump_bytes
    from perimortem.proc.linux.modules import find_module, maps_file
    from perimortem.proc.linux.numbers import list_numbers
    from perimortem.proc.linux.process_info import (
        collect_process_info,
        find_process,
        identify_process,
        leaves_by_own_system_call,
        refresh_executable,
        renew_process_info,
    )
    from perimortem.proc.linux.processes import list_ancestors, list_processes
    from perimortem.proc.linux.sample import SOURCE, Sample, describe_state, is_stopped, take_sample
    from perimortem.proc.linux.stat import ProcessStat, read_stat
    from perimortem.proc.linux.thread_samples import sample_threads
    from perimortem.proc.linux.tracer import read_tracer
    from perimortem.proc.linux.unit import has_units, list_unit_processes
    from perimortem.proc.linux.waits import describe_stuck, is_waiting_for_child

__all__ = [
    "SOURCE",
    "Activity",
    "ProcessStat",
    "Sample",
    "collect_host",
    "collect_process_info",
    "describe_state",
    "describe_stuck",
    "estimate_dump_bytes",
    "find_container",
    "find_module",
    "find_newest_pid",
    "find_process",
    "guess_caller",
    "has_units",
    "identify_process",
    "is_stopped",
    "is_waiting_for_child",
    "leaves_by_own_system_call",
    "list_ancestors",
    "list_children",
    "list_numbers",
    "list_processes",
    "list_unit_processes",
    "maps_file",
    "own_uid",
    "read_activity",
    "read_retry",
    "read_stat",
    "read_tracer",
    "read_variables",
    "refresh_executable",
    "renew_process_info",
    "sample_threads",
    "take_sample",
]
