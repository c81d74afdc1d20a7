"""ETW's ProcessStop: golden payloads of versions 0, 1 and 2."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows_records import build_stop

from perimortem.errors import MalformedInput
from perimortem.exits.process_stop import decode_process_stop

GOLDEN_V2 = bytes.fromhex(
    "67120000" "2923000000000000" "2e1d0c5a6b7fda01" "3e1d0c5a6b7fda01" "090400c0"
    "01000000" "c8000000" "0010000000000000" "0020000000000000" "15cd5b0700000000"
    "2c000000" "42000000" "37000000" "4d000000" "21000000"
) + b"\\Device\\HarddiskVolume3\\app.exe\0"  # fmt: skip


def test_golden_bytes():
    stop = decode_process_stop(2, GOLDEN_V2)
    assert (stop.pid, stop.sequence_number, stop.exit_code) == (4711, 9001, 0xC0000409)
    assert (stop.create_time, stop.exit_time) == (0x01DA7F6B5A0C1D2E, 0x01DA7F6B5A0C1D3E)
    assert stop.image_name == r"\Device\HarddiskVolume3\app.exe"


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_each_version(version):
    stop = decode_process_stop(version, build_stop(version, pid=7, created=99, code=0xC0000005))
    assert (stop.pid, stop.create_time, stop.exit_time) == (7, 99, 109)
    assert (stop.exit_code, stop.image_name) == (0xC0000005, "app.exe")
    assert stop.sequence_number == (9001 if version >= 2 else None)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_payload_that_is_cut_is_refused_at_every_length(version):
    payload = build_stop(version, pid=7, created=99, code=1, name=b"")[:-1]
    for size in range(len(payload)):
        with pytest.raises(MalformedInput):
            decode_process_stop(version, payload[:size])
    assert decode_process_stop(version, payload).image_name == ""


@given(st.integers(0, 255), st.binary(max_size=200))
def test_noise_gives_a_fact_or_an_error(version, payload):
    with contextlib.suppress(MalformedInput):
        assert decode_process_stop(version, payload).image_name.isprintable()


def test_a_name_in_another_code_page_is_shown_escaped():
    payload = build_stop(2, pid=7, created=99, code=1, name=b"Gr\xf6\xdfe.exe")
    assert decode_process_stop(2, payload).image_name == r"Gr\xf6\xdfe.exe"
