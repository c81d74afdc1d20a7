"""`perimortem stack --tree`: the ranks of a job, of which one is elsewhere."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import await_true

pytestmark = pytest.mark.system

JOB = """
import os, subprocess, sys, threading, time
def barrier(): threading.Event().wait(600)
def load(): time.sleep(600)
if len(sys.argv) == 1:
    ranks = [
        subprocess.Popen([sys.executable, __file__, "rank"], env={**os.environ, "RANK": str(rank)})
        for rank in range(4)
    ]
    for rank in ranks: rank.wait()
elif os.environ["RANK"] == "1":
    load()
else:
    barrier()
"""


@pytest.fixture
def job(begin, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(JOB)
    return begin([sys.executable, script])


def read_tree(perimortem, process, *options):
    result = perimortem.call("stack", "--tree", process.pid, "--json", *options)
    return json.loads(result.stdout) if result.returncode == 0 else None


def list_places(document):
    return {p["labels"].get("RANK"): p["place"] for p in document["processes"]} if document else {}


def test_the_rank_that_is_elsewhere_is_named(perimortem, job):
    def is_there():
        places = list_places(read_tree(perimortem, job))
        ranks = [places.get(rank, "") for rank in "0123"]
        return [place.split(" at ")[0] for place in ranks] == [
            "barrier",
            "load",
            "barrier",
            "barrier",
        ]

    await_true(is_there)
    document = read_tree(perimortem, job)
    (odd,) = document["odd"]
    assert next(p for p in document["processes"] if p["pid"] == odd)["labels"]["RANK"] == "1"
    assert any(stack["process_count"] == 3 for stack in document["stacks"])
    text = perimortem.call("stack", "--tree", job.pid).stdout
    assert f"[{odd}]): load at train.py:4" in text
    assert "load at train.py:4  <- look here first" in text


def test_one_rank(perimortem, job):
    await_true(lambda: "2" in list_places(read_tree(perimortem, job, "--rank", "2")))
    (process,) = read_tree(perimortem, job, "--rank", "2")["processes"]
    assert process["labels"]["RANK"] == "2"


def test_a_rank_that_is_not_there(perimortem, job):
    result = perimortem.call("stack", "--tree", job.pid, "--rank", "9")
    assert result.returncode != 0
    assert "has the rank 9" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--rank", "1", "{pid}"), "--rank belongs to --tree"),
        (("--tree", "--twice", "{pid}"), "neither --twice nor --thread"),
        (("--tree", "no-such-file"), "is no process id"),
        (("--tree", "4194304"), "there is no process"),
    ],
)
def test_what_does_not_go_together(perimortem, job, options, said):
    result = perimortem.call("stack", *(option.format(pid=job.pid) for option in options))
    assert result.returncode != 0
    assert said in result.stderr


BEATING = """
import os, subprocess, sys, threading, time
import perimortem
def barrier(): threading.Event().wait(12)
def load(): time.sleep(12)
if len(sys.argv) == 1:
    ranks = [
        subprocess.Popen([sys.executable, __file__, "rank"], env={**os.environ, "RANK": str(rank)})
        for rank in range(3)
    ]
    for rank in ranks: rank.wait()
    sys.exit(3)
step = perimortem.attach("step", threshold=2)
for _ in range(5):
    step.beat()
    time.sleep(0.05)
load() if os.environ["RANK"] == "1" else barrier()
"""


def test_all_ranks_of_a_job_hang(perimortem, tmp_path):
    """One line says where each of them is, after their accounts, and in each of them at the end."""
    script = tmp_path / "train.py"
    script.write_text(BEATING)
    printed = perimortem.call("run", "--", sys.executable, script).stderr
    said = "all ranks hang: rank 0, 2: barrier at train.py:4, in Condition.wait at threading.py:"
    assert said in printed, printed
    assert "; rank 1: load at train.py:5: look at rank 1 first" in printed
