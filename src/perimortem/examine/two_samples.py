"""Sample a live process twice, to distinguish stuck threads from slow ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from perimortem.analysis.compare_samples import compare_samples
from perimortem.examine import examine_process
from perimortem.examine.options import ExamineOptions
from perimortem.model.examination import Examination
from perimortem.model.process import ProcessRef

BETWEEN_S = 0.1


@contextmanager
def examine_twice(process: ProcessRef, options: ExamineOptions) -> Iterator[Examination]:
    """The second sample, with the changes of its threads since the first."""
    plain = replace(options, with_lines=False)
    with examine_process(process, plain) as first:
        looked = time.monotonic()
    time.sleep(BETWEEN_S)
    with examine_process(process, options) as second:
        apart_ms = (time.monotonic() - looked) * 1e3
        stacks = compare_samples(first.stacks, second.stacks, apart_ms)
        paused_ms = (first.paused_ms or 0.0) + (second.paused_ms or 0.0)
        yield replace(second, stacks=stacks, paused_ms=paused_ms)
