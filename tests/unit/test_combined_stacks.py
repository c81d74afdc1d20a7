"""The stacks of several processes: equal ones once, the odd one first."""

from __future__ import annotations

import msgspec

from perimortem.documents.examination import Frame, SourceLine, ThreadStack
from perimortem.documents.tree_stacks import StackedProcess
from perimortem.model.labels import find_rank, name_part, select_labels
from perimortem.model.process import find_title
from perimortem.report.tree_stacks import (
    combine_stacks,
    describe_ranks,
    find_place,
    render_tree_stacks,
)


def frame(function, file=None, line=0, *, python=True, module=None):
    source = SourceLine(file, line, None) if file else None
    kind = "python" if python else "native"
    return Frame(0, kind, None, function, None, module, None, source, [], "cfi")


def stack(tid, *frames, name="train"):
    return ThreadStack(tid, name, False, len(frames), list(frames), [], "the first frame", True, [])


def process(pid, name="train", rank=None):
    labels = {} if rank is None else {"RANK": str(rank)}
    return StackedProcess(pid, 1, name, "", labels, "", "")


SLEEP = frame("load", "/src/train.py", 10)
BARRIER = frame("barrier", "/src/train.py", 11)


def test_the_rank_that_is_elsewhere_comes_first():
    ranks = [process(10 + n, rank=n) for n in range(4)]
    found = combine_stacks(
        [process(9, "torchrun"), *ranks],
        [(9, stack(9, frame("poll", "/src/launch.py", 3)))]
        + [(p.pid, stack(p.pid, SLEEP if p.pid == 11 else BARRIER)) for p in ranks],
    )
    assert found.odd == [11]
    assert [s.process_count for s in found.stacks] == [1, 1, 3]
    assert found.stacks[0].threads[0].pid == 11
    text = render_tree_stacks(found)
    assert "rank 1 (train[11]): load at train.py:10  <- look here first" in text
    assert (
        "rank 0 (train[10]), rank 2 (train[12]), rank 3 (train[13]): barrier at train.py:11" in text
    )


def test_ranks_in_one_line():
    ranks = [
        msgspec.structs.replace(process(10 + n, rank=n), place="load" if n == 2 else "barrier")
        for n in range(11)
    ]
    assert describe_ranks(ranks) == (
        "rank 0, 1, 3, 4, 5, 6, 7, 8 and 2 more: barrier; rank 2: load: look at rank 2 first"
    )
    assert describe_ranks(ranks[:2]) == "rank 0, 1: barrier"


def test_two_that_differ_are_both_usual():
    found = combine_stacks(
        [process(10, rank=0), process(11, rank=1)],
        [(10, stack(10, SLEEP)), (11, stack(11, BARRIER))],
    )
    assert found.odd == []


def test_the_place_is_in_the_program_and_what_it_called_is_added():
    inner = frame("wait", "/usr/lib/python3.11/threading.py", 331)
    assert (
        find_place(stack(1, inner, BARRIER))
        == "barrier at train.py:11, in wait at threading.py:331"
    )
    libc = frame("poll", python=False, module="libc.so.6")
    own = frame("run", "/src/server.c", 7, python=False, module="server")
    assert find_place(stack(1, libc, own)) == "run at server.c:7"
    assert find_place(stack(1)) == ""


def test_what_a_program_called_of_a_library_is_its_place():
    """Where the library itself waits differs from rank to rank."""
    begin = frame("_start", python=False, module="solver")
    main = frame("main", "/src/solver.c", 40, python=False, module="solver")
    barrier = frame("PMPI_Barrier", python=False, module="libmpi.so.40")
    inside = [frame(name, python=False, module="libmpi.so.40") for name in ("recv", "progress")]
    places = {find_place(stack(1, part, barrier, main, begin)) for part in inside}
    assert places == {"main at solver.c:40, in PMPI_Barrier"}
    step = SourceLine("/src/step.c", 9, "step")
    inlined = msgspec.structs.replace(main, inlined=[step])
    assert find_place(stack(1, inlined, begin)) == "step at step.c:9"


def test_an_interpreter_is_not_the_program():
    begin = frame("_start", python=False, module="python3.11")
    library = frame("take_gil", python=False, module="libpython3.11.so")
    assert find_place(stack(1, library, begin)) == "take_gil in libpython3.11.so"


def test_a_process_without_stacks_says_why():
    broken = StackedProcess(7, 1, "x", "", {}, "", "process 7 belongs to another user")
    assert "x[7]: process 7 belongs to another user" in render_tree_stacks(
        combine_stacks([broken], [])
    )


def test_labels():
    labels = select_labels({"SLURM_PROCID": "5", "SLURM_JOB_ID": "77", "HOME": "/root"})
    assert labels == {"SLURM_PROCID": "5", "SLURM_JOB_ID": "77"}
    assert (name_part(labels), find_rank(labels)) == ("rank 5", "5")
    assert name_part({"PYTEST_XDIST_WORKER": "gw1"}) == "worker gw1"
    assert name_part({"POD_NAME": "web-1"}) == ""


def test_titles():
    assert find_title(("postgres: walwriter", "", "")) == "postgres: walwriter"
    assert find_title(("python3", "train.py")) == ""
    assert find_title(("/opt/My Program/run",)) == ""
    assert find_title(("./my server",)) == find_title(("bin/start job",)) == ""
    assert find_title(("C:\\Program Files\\App\\app.exe",)) == ""
    assert find_title(("sshd: root@pts/0",)) == "sshd: root@pts/0"
    assert find_title(()) == ""
