"""A machine that sleeps, stands still and is set to another time makes no program hung."""

from __future__ import annotations

import pytest
from year import EVENTS, Year


@pytest.mark.parametrize("seed", range(3))
def test_four_days(tmp_path, seed):
    year = Year(tmp_path, seed)
    year.run(4)
    assert all(year.world.counts[event] > 15 for event in EVENTS)
    assert (year.false, year.missed) == ([], [])
