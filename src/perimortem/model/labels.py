"""Variables of the environment that say which part of a job a process is."""

from __future__ import annotations

from collections.abc import Mapping

from perimortem.text import printable

_MAX = 64
_NAMED = {
    "RANK": "rank",
    "PMIX_RANK": "rank",
    "OMPI_COMM_WORLD_RANK": "rank",
    "PMI_RANK": "rank",
    "SLURM_PROCID": "rank",
    "LOCAL_RANK": "local rank",
    "PYTEST_XDIST_WORKER": "worker",
}
"""Which name a process, the most telling first."""
TITLE = "title"
"""A label that is not in the environment: what the process calls itself (``process.find_title``)."""
LABELS = (
    *_NAMED,
    "WORLD_SIZE",
    "GROUP_RANK",
    "TORCHELASTIC_RUN_ID",
    "SLURM_JOB_ID",
    "SLURM_NODEID",
    "RAY_JOB_ID",
    "POD_NAME",
    "POD_NAMESPACE",
)
"""torchrun, PMIx, Open MPI, MPICH, Slurm, pytest-xdist, Ray, Kubernetes (by the downward API)."""


def name_part(labels: Mapping[str, str]) -> str:
    """ "rank 3", "worker gw1"; empty if none of the labels says it."""
    return next((f"{_NAMED[name]} {labels[name]}" for name in _NAMED if labels.get(name)), "")


def find_rank(labels: Mapping[str, str]) -> str:
    """The number of its rank among all; empty if it has none."""
    return next((labels[n] for n in _NAMED if _NAMED[n] == "rank" and labels.get(n)), "")


def select_labels(environment: Mapping[str, str]) -> dict[str, str]:
    """The labels in it, as printable text of at most 64 characters."""
    return {name: printable(environment[name])[:_MAX] for name in LABELS if name in environment}
