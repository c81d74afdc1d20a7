"""Healthy programs that look deadlocked at first sight: no deadlock is found in any of them."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

SOURCE = Path(__file__).parent.parent / "programs" / "rests.c"
KINDS = re.findall(r'^    \{"([a-z-]+)", ', SOURCE.read_text(), re.M)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_found_in_it(begin, look, programs, tmp_path, kind):
    process = begin([programs / "rests", kind, tmp_path])
    said = process.stdout.readline()
    if said == b"no namespace\n":
        pytest.skip("this user may make no pid namespace")
    assert said == b"ready\n"
    seen = set()
    for _ in range(4):
        document = look(process.pid)
        assert document["deadlocks"] == [], document["deadlocks"]
        assert document["suspected"] == [], document["suspected"]
        seen |= {t["waits_for"] for p in document["processes"] for t in p["threads"]}
        time.sleep(0.1)
    assert seen - {None}
