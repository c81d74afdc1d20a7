"""The recorder's layout and its reader, fed with what a broken or hostile target could leave."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.errors import MalformedInput
from perimortem.model.caller import ExitCaller
from perimortem.model.process import ProcessRef
from perimortem.model.recording import ExitFunction
from perimortem.recorder import RecorderFile, layout
from perimortem.recorder.decode import decode_pulse, decode_recording, read_header

ROOT = Path(__file__).resolve().parent.parent.parent
SLOTS = 8
NOW = 1000 * 10**9


def make_recorder(**changes):
    """A good recorder file, written by struct alone: independent of the product's records."""
    fields = {
        "magic": b"PERIMREC", "version": 1, "header_size": 120,
        "file_size": 12288 + SLOTS * 512, "pid": 4711, "flags": 1, "start": 99,
        "boot_id": bytes(16), "mono": 5, "real": 6, "ring": 12288, "slot_size": 512,
        "slots": SLOTS, "crash_at": 4096, "crash_size": 4096, "crash_version": 1, "note": 8192,
        "max": 64, "parent": 4710, "monitor": 4700, "spare": 0,
    } | changes  # fmt: skip
    head = struct.pack("<8sIIQIIQ16sQQIIIIIIIIIII", *fields.values())
    data = bytearray(12288 + SLOTS * 512)
    data[: len(head)] = head
    data[len(head) : len(head) + 4] = struct.pack("<I", zlib.crc32(head))
    struct.pack_into("<Q", data, 256, 1)  # ready
    return data


def put_heartbeat(data, slot, name, beat_ns, threshold_ms=1000, state=1, hold=0):
    struct.pack_into("<Q", data, 264, max(slot + 1, struct.unpack_from("<Q", data, 264)[0]))
    struct.pack_into("<Q", data, 512 + 8 * slot, beat_ns)
    struct.pack_into("<Q", data, 1024 + 8 * slot, hold)
    struct.pack_into("<Q", data, 1536 + 8 * slot, threshold_ms | state << 32)
    data[2048 + 32 * slot : 2048 + 32 * slot + len(name)] = name


def put_event(data, sequence, name=b"step", payload=b'{"i":1}', crc_error=0):
    at = 12288 + (sequence - 1) % SLOTS * 512
    head = struct.pack("<QQII32s", sequence, 77, len(payload), 0, name)
    crc = zlib.crc32(head + payload) ^ crc_error
    data[at : at + len(head) + len(payload)] = (
        struct.pack("<QQII32s", sequence, 77, len(payload), crc, name) + payload
    )
    struct.pack_into("<Q", data, 272, max(sequence, struct.unpack_from("<Q", data, 272)[0]))


def test_the_c_header_is_generated_from_the_layout():
    tool = ROOT / "tools" / "generate_headers.py"
    result = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_first_page_holds_all_live_words_aligned():
    assert layout.Header.size() <= layout.LIVE_WORDS_OFFSET
    assert layout.NAMES_OFFSET + layout.MAX_HEARTBEATS * layout.HEARTBEAT_NAME_SIZE <= 4096
    for offset in (layout.LIVE_WORDS_OFFSET, layout.BEATS_OFFSET, layout.HOLDS_OFFSET):
        assert offset % 8 == 0
    assert all(at % 8 == 0 for _, code, at, _ in layout.LiveWords.offsets() if code == "Q")


def test_pulse_reads_heartbeats_thresholds_and_holds():
    data = make_recorder()
    put_heartbeat(data, 0, b"main", NOW - 5, threshold_ms=2500)
    put_heartbeat(data, 1, b"loader", (NOW - 9) | 1 << 63, threshold_ms=0, hold=2**64 - 1)
    put_heartbeat(data, 2, b"gone", 1, state=2)
    main, loader = decode_pulse(bytes(data[:4096]), ProcessRef(4711, 99), NOW).heartbeats
    assert (main.name, main.beat_ns, main.threshold_ns) == ("main", NOW - 5, 2_500_000_000)
    assert (loader.beaten, loader.paused, loader.threshold_ns) == (False, True, None)


def test_a_beat_from_the_future_is_refused():
    data = make_recorder()
    put_heartbeat(data, 0, b"liar", NOW + 5 * 10**9)
    assert decode_pulse(bytes(data[:4096]), ProcessRef(4711, 99), NOW).heartbeats == ()


def test_names_are_made_printable():
    data = make_recorder()
    put_heartbeat(data, 0, b"a\x1b[31m\n\xff", NOW)
    (heartbeat,) = decode_pulse(bytes(data[:4096]), ProcessRef(4711, 99), NOW).heartbeats
    assert heartbeat.name == "a\\e[31m\\n\\xff"


def test_whole_events_are_read_and_torn_ones_counted_lost():
    data = make_recorder()
    for sequence in range(1, 6):
        put_event(data, sequence, payload=b'{"i":%d}' % sequence)
    put_event(data, 6, crc_error=1)
    recording = decode_recording(bytes(data), NOW)
    assert [event.payload for event in recording.events] == [f'{{"i":{i}}}' for i in range(1, 6)]
    assert recording.events_lost == 1


def test_a_lapped_ring_keeps_the_newest():
    data = make_recorder()
    for sequence in range(1, 21):
        put_event(data, sequence)
    recording = decode_recording(bytes(data), NOW)
    assert [event.sequence for event in recording.events] == list(range(13, 21))
    assert recording.events_lost == 12


def test_exit_note():
    data = make_recorder()
    body = struct.pack(
        "<IiIIIIQQQ16s512s", 2, 7, 4712, 0, 3, 0, 5, 6, 0x41D0A, b"infer", b"/x/lib.so"
    )
    crc = zlib.crc32(body)
    body = body[:20] + struct.pack("<I", crc) + body[24:]
    data[8192 : 8192 + len(body)] = body
    struct.pack_into("<Q", data, 8192 + len(body), 2)
    note = decode_recording(bytes(data), NOW).exit_note
    assert note.function is ExitFunction.UNDERSCORE_EXIT
    assert note.caller is ExitCaller.LIBRARY
    assert (note.module, note.module_offset, note.thread_name) == ("/x/lib.so", 0x41D0A, "infer")
    assert not note.is_wanted
    data[8200] ^= 1
    recording = decode_recording(bytes(data), NOW)
    assert recording.exit_note is None
    assert "damaged" in recording.soft_errors[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"magic": b"ELFELFEL"}, "not a recorder"),
        ({"version": 9}, "format 9 is unknown"),
        ({"slots": 2**31}, "impossible"),
        ({"slot_size": 1}, "impossible"),
        ({"note": 2**32 - 8}, "impossible"),
    ],
)
def test_impossible_headers_are_refused_with_a_reason(changes, words):
    data = bytes(make_recorder(**changes))
    with pytest.raises(MalformedInput, match=words):
        read_header(data[:4096], len(data))


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "r.rec"
    path.write_bytes(make_recorder()[:9000])
    with pytest.raises(MalformedInput, match="truncated"):
        RecorderFile(path, ProcessRef(4711, 99))


def test_a_file_truncated_while_watched_is_reported_and_not_fatal(tmp_path):
    path = tmp_path / "r.rec"
    path.write_bytes(make_recorder())
    recorder = RecorderFile(path, ProcessRef(4711, 99))
    if sys.platform == "win32":  # there it cannot be cut as long as it is mapped
        with pytest.raises(OSError, match=r"Invalid argument|denied"):
            path.write_bytes(b"")
        assert recorder.read_pulse(NOW).process.pid == 4711
        recorder.close()
        return
    path.write_bytes(b"")
    with pytest.raises(MalformedInput, match="truncated while it was watched"):
        recorder.read_pulse(NOW)
    recorder.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of Unix")
def test_another_processs_file_a_link_and_a_pipe_are_refused(tmp_path):
    import os

    path = tmp_path / "r.rec"
    path.write_bytes(make_recorder())
    with pytest.raises(MalformedInput, match="another process"):
        RecorderFile(path, ProcessRef(4711, 100))
    link = tmp_path / "link.rec"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        RecorderFile(link, ProcessRef(4711, 99))
    os.mkfifo(tmp_path / "fifo.rec")
    with pytest.raises(MalformedInput, match="regular"):
        RecorderFile(tmp_path / "fifo.rec", ProcessRef(4711, 99))


@given(st.binary(max_size=6000))
def test_noise_is_never_more_than_malformed(noise):
    with pytest.raises(MalformedInput):
        decode_recording(noise, NOW)


@given(
    st.lists(
        st.tuples(st.integers(120, 12288 + SLOTS * 512 - 1), st.integers(0, 255)), max_size=300
    )
)
def test_noise_behind_a_good_header_gives_only_checked_facts(changes):
    """Even if a target overwrites its live words and ring, the reader returns whole events only."""
    data = make_recorder()
    put_heartbeat(data, 0, b"main", NOW)
    for sequence in range(1, 9):
        put_event(data, sequence)
    for at, value in changes:
        data[at] = value
    recording = decode_recording(bytes(data), NOW)
    assert len(recording.pulse.heartbeats) <= layout.MAX_HEARTBEATS
    for event in recording.events:
        assert (event.name, event.payload) == ("step", '{"i":1}')
