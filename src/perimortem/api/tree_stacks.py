"""The stacks of a process and of all that descend from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from perimortem.api.command import ask
from perimortem.api.descendants import list_descendants
from perimortem.errors import PerimortemError

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination
    from perimortem.documents.tree_stacks import StackedProcess, TreeStacks

_AT_ONCE = 4
_PROCESSES_MAX = 1000


def tree_stacks(
    pid: int,
    *,
    rank: str | None = None,
    options: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TreeStacks:
    """The stacks of all processes of a tree: equal ones once, those of the fewest processes first.

    Each stands for some milliseconds, one after another. ``rank``: only the process with this rank
    (RANK, SLURM_PROCID ...); ``options``: of `perimortem stack`, such as "--no-lines"; ``on_progress``:
    called with the number of processes that were read, and of all. Raises PerimortemError.

    >>> [process.place for process in perimortem.tree_stacks(4711).processes]
    ['main at launch.py:80', 'step at train.py:11', 'step at train.py:11']
    """
    from perimortem.documents.examination import Examination
    from perimortem.report.tree_stacks import combine_stacks

    processes = _list_processes(pid, rank)
    found: list[StackedProcess] = []
    stacks = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda process: _examine(process.pid, options), processes)
        for done, (process, answer) in enumerate(zip(processes, answers, strict=True), 1):
            if isinstance(answer, Examination):
                stacks += [(process.pid, thread) for thread in answer.threads]
                found.append(process)
            else:
                found.append(msgspec.structs.replace(process, error=answer))
            on_progress(done, len(processes))
    return combine_stacks(found, stacks)


def _list_processes(pid: int, rank: str | None) -> list[StackedProcess]:
    from perimortem.documents.tree_stacks import StackedProcess
    from perimortem.model.labels import LABELS, find_rank
    from perimortem.model.process import find_title
    from perimortem.proc import collect_process_info, find_process, read_variables

    find_process(pid)
    found = []
    for number, parent in list(list_descendants([pid]).items())[:_PROCESSES_MAX]:
        try:
            info = collect_process_info(find_process(number))
        except PerimortemError:
            continue
        labels = read_variables(number, LABELS)
        if rank is None or find_rank(labels) == rank:
            title = find_title(info.command_line)
            found.append(StackedProcess(number, parent or 0, info.name, title, labels, "", ""))
    if not found:
        raise PerimortemError(
            f"no process below {pid} has the rank {rank}",
            why="it is read from RANK, SLURM_PROCID and the like",
            remedy=f"perimortem stack --tree {pid} lists them",
        )
    return found


def _examine(pid: int, options: Sequence[str]) -> Examination | str:
    """By the command line tool, which confines itself; or why it has no stacks."""
    from perimortem.documents.examination import Examination

    try:
        return msgspec.convert(ask(["stack", "--json", *options, str(pid)]), Examination)
    except PerimortemError as error:
        return str(error)
