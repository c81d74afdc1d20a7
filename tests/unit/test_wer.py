"""What Windows itself logs: events 1000 and 1002, and Report.wer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows_records import ERROR_XML, HANG_XML, REPORT

from perimortem.exits.wer import (
    ApplicationError,
    ApplicationHang,
    parse_event,
    parse_report,
    read_fast_fail_code,
)


def test_application_error():
    event = parse_event(ERROR_XML)
    assert isinstance(event, ApplicationError)
    assert (event.pid, event.create_time) == (0x1A2C, 0x01DA7F6B5A0C1D2E)
    assert (event.program, event.module) == ("server.exe", "gpu_rt.dll")
    assert (event.module_offset, event.exception_code) == (0x41D0A, 0xC0000409)


def test_application_hang():
    event = parse_event(HANG_XML)
    assert event == ApplicationHang(0x2B10, 0x01DA7F6B5A0C1D2F, "viewer.exe")


def test_hex_with_its_prefix_is_the_same():
    event = parse_event(ERROR_XML.replace("<Data>1a2c<", "<Data>0x1a2c<"))
    assert event.pid == 0x1A2C


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<Event/>",
        "not xml",
        ERROR_XML[:200],
        ERROR_XML.replace(">1000<", ">1001<"),
        ERROR_XML.replace(">1000<", ">many<"),
        ERROR_XML.replace("1a2c", "no number"),
        "<!DOCTYPE x [<!ENTITY a 'b'>]>" + ERROR_XML,
        ERROR_XML.replace("server.exe", "x" * 100_000),
    ],
)
def test_anything_else_is_none(xml):
    assert parse_event(xml) is None


def test_names_are_made_printable():
    event = parse_event(ERROR_XML.replace("gpu_rt.dll", "gpu&#x202e;.dll"))
    assert event.module == "gpu\\u202e.dll"


def test_the_subcode_of_a_fast_fail():
    report = parse_report(REPORT)
    assert report["Fault Module Name"] == "gpu_rt.dll"
    assert read_fast_fail_code(report) == 7
    assert read_fast_fail_code(parse_report(REPORT.replace("c0000409", "c0000005"))) is None
    assert read_fast_fail_code({}) is None


@given(st.text(max_size=300))
def test_noise_is_no_error(text):
    parse_event(text)
    read_fast_fail_code(parse_report(text))
