"""Examine a live process, once or twice; nothing of it is parsed before the rights are given up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from perimortem.analysis.compare_samples import compare_samples
from perimortem.analysis.hang_cause import compare_threads
from perimortem.examine import capture_process
from perimortem.examine.options import ExamineOptions
from perimortem.model.examination import Examination
from perimortem.model.process import ProcessRef
from perimortem.proc import sample_threads

BETWEEN_S = 0.1


@contextmanager
def examine_process(process: ProcessRef, options: ExamineOptions) -> Iterator[Examination]:
    """Raises ProcessGone, AccessDenied or CaptureFailed; the process runs on before the body does."""
    with capture_process(process, options) as examine:
        options.before_parsing()
        yield examine(options)


@contextmanager
def examine_twice(process: ProcessRef, options: ExamineOptions) -> Iterator[Examination]:
    """Two samples, to distinguish stuck threads from slow ones: the second, with what has changed."""
    with capture_process(process, options) as examine_first:
        captured = time.monotonic()
        begin = sample_threads(process)
        time.sleep(BETWEEN_S)
        end = sample_threads(process)
        with capture_process(process, options) as examine_second:
            apart_ms = (time.monotonic() - captured) * 1e3
            options.before_parsing()
            first = examine_first(replace(options, with_lines=False))
            second = examine_second(options)
            activity = compare_threads(begin, end) if begin is not None and end is not None else ()
            stacks = compare_samples(first.stacks, second.stacks, apart_ms, activity)
            paused_ms = (first.paused_ms or 0.0) + (second.paused_ms or 0.0)
            yield replace(second, stacks=stacks, paused_ms=paused_ms)
