"""Messages of clients: what is whole is read, everything else is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import make_crash, make_frame

from perimortem.errors import MalformedInput
from perimortem.recorder.crash import decode_crash
from perimortem.recorder.layout import ContextKind, CrashNote
from perimortem.wire.frames import Message, WrongVersion, decode_message, encode_answer
from perimortem.wire.layout import CRASH_MESSAGE_SIZE, Frame, FrameKind, Outcome

GREGS = 23


def decode_safely(data: bytes) -> Message | None:
    try:
        return decode_message(data)
    except MalformedInput:
        return None


@given(st.binary(max_size=CRASH_MESSAGE_SIZE + 10))
def test_noise_is_refused(data):
    assert decode_safely(data) is None


@given(st.data())
def test_a_damaged_crash_is_refused_or_whole(data):
    message = bytearray(make_crash())
    places = st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=8)
    for place in data.draw(places):
        message[place] = data.draw(st.integers(0, 255))
    decoded = decode_safely(bytes(message))
    if decoded is not None and decoded.crash is not None:
        assert decoded.crash.code == 11  # what the checksum covers is as it was sent


@given(st.integers(0, CRASH_MESSAGE_SIZE - 1))
def test_a_cut_message_is_refused(size):
    decoded = decode_safely(make_crash()[:size])
    assert decoded is None or decoded.crash is None


@given(st.binary(min_size=CrashNote.size(), max_size=CrashNote.size() + 64))
def test_noise_in_a_recorder_is_no_crash(data):
    crash, error = decode_crash(data)
    assert crash is None or error is None


def test_an_empty_crash_area_is_none_and_no_error():
    assert decode_crash(bytes(CrashNote.size())) == (None, None)


def test_another_version_is_distinguished_from_noise():
    with pytest.raises(WrongVersion, match="version 7"):
        decode_message(make_frame(FrameKind.HELLO, version=7))


@pytest.mark.parametrize("kind", [FrameKind.HELLO, FrameKind.PING, FrameKind.LEAVE])
def test_short_messages(kind):
    message = decode_message(make_frame(kind, value=1 << 63))
    assert (message.kind, message.value, message.crash) == (kind, 1 << 63, None)


def test_the_registers_of_a_crash_come_by_name():
    """mcontext_t has eflags after rip, and the segments in one word."""
    words = list(range(100, 100 + GREGS))
    words[18] = 0x002B_0000_0000_0033  # cs, gs, fs, ss
    context = b"".join(word.to_bytes(8, "little") for word in words) + bytes(range(256)) * 2
    crash = decode_message(make_crash(context_kind=ContextKind.LINUX_X86_64, context=context)).crash
    assert crash is not None
    assert crash.registers is not None
    general = crash.registers.general
    assert (general["r8"], general["rsp"], general["rip"], general["eflags"]) == (
        100,
        115,
        116,
        117,
    )
    assert (general["cs"], general["ss"]) == (0x33, 0x2B)
    assert crash.registers.floating_point == bytes(range(256)) * 2


def test_answers_are_frames():
    frame = Frame.read(encode_answer(FrameKind.DONE, Outcome.NO_DUMP))
    assert (frame.kind, frame.outcome) == (FrameKind.DONE, Outcome.NO_DUMP)
