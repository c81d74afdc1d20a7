"""Text of others that is nested too deeply, or has too long numbers, is refused like any other."""

from __future__ import annotations

import pytest

from perimortem.binary.proc_maps import parse_maps, parse_smaps
from perimortem.dumping.protocol import decode_hold, decode_progress, decode_result
from perimortem.examine.python_frames import NoPythonFrames, parse_pyspy

DEEP = "[" * 100_000
LONG = "9" * 5000


@pytest.mark.parametrize("text", [DEEP, LONG, f"[{LONG}]"])
def test_answers_of_workers(text):
    line = text.encode() + b"\n"
    assert decode_hold(line) is None
    assert decode_progress(line) is None
    with pytest.raises(ValueError):
        decode_result(line)
    with pytest.raises(NoPythonFrames):
        parse_pyspy(text)


@pytest.mark.parametrize(
    "line",
    [
        f"1000-2000 r--p 0 fe:00 {LONG} /a",
        f"{LONG}-2000 r--p 0 fe:00 1 /a",
        f"1000-2000 r--p {LONG} fe:00 1 /a",
    ],
)
def test_maps(line):
    good = b"3000-4000 r--p 0 fe:00 1 /b\n"
    assert [region.path for region in parse_maps(line.encode() + b"\n" + good)] == ["/b"]
    flags = b"VmFlags: rd\n"
    smaps = line.encode() + b"\n" + flags + good + flags
    assert [region.path for region in parse_smaps(smaps)] == ["/b"]
