"""Everything that reads what others wrote: each a function of bytes, with inputs to begin with.

Only :class:`~perimortem.errors.PerimortemError` may come out.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import importlib
import json
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perimortem.analysis.chain import derive_chains
from perimortem.analysis.process_list import parse_process_list
from perimortem.binary.elf_image import ElfImage
from perimortem.binary.proc_maps import parse_maps, parse_smaps
from perimortem.config.layers import read_environment, read_file
from perimortem.documents.base import encode
from perimortem.dumping.protocol import decode_hold, decode_progress, decode_result
from perimortem.examine.protocol import decode_answer
from perimortem.exits.wer import parse_event, parse_report
from perimortem.recorder.crash import decode_crash
from perimortem.recorder.decode import decode_recording
from perimortem.report.chain import render_chains_text
from perimortem.report.html.page import render_page
from perimortem.report.text import render_account
from perimortem.report.upgrade import read_report
from perimortem.symbols.breakpad import BreakpadSymbols
from perimortem.symbols.demangle import demangle
from perimortem.symbols.elf_symbols import read_elf_exports, read_elf_symbols, read_elf_variables
from perimortem.testing.documents import make_report
from perimortem.unwind.dwarf.entries import EntrySection
from perimortem.unwind.dwarf.expression import evaluate
from perimortem.unwind.dwarf.program import iterate_rows
from perimortem.unwind.dwarf.table import UnwindTable
from perimortem.wire.frames import decode_message

from .frames import make_crash, make_frame
from .place import PROGRAMS, ROOT
from .scenarios import TARGET


@dataclass(frozen=True)
class Reader:
    """``one`` raises nothing but our own errors; ``make_seeds`` is called once."""

    one: Callable[[bytes], object]
    make_seeds: Callable[[], list[bytes]]


def _import_test(name: str) -> Any:
    """Seeds that the unit tests have."""
    for folder in (ROOT / "tests" / "unit", ROOT / "tests"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def _read_dump(data: bytes) -> None:
    _import_test("test_hostile_dumps").exercise(data)


def _list_dumps() -> list[bytes]:
    tests = _import_test("test_hostile_dumps")
    synthetic = _import_test("synthetic_dumps").SYNTHETIC
    found = [path.read_bytes() for path in tests.HOSTILE]
    return [*tests.SEEDS.values(), tests.make_compressed(), *found, *_bytes_of(synthetic)]


def _bytes_of(synthetic: dict[str, Any]) -> list[bytes]:
    return [value.data for value in synthetic.values()]


def _read_elf(data: bytes) -> None:
    image = _open_elf(data)
    for read in (read_elf_symbols, read_elf_exports, read_elf_variables):
        read(image).find(0x1100)
    for entry in UnwindTable(image).list_entries():
        for _ in iterate_rows(entry):
            pass


def _open_elf(data: bytes) -> ElfImage:
    return ElfImage(lambda at, size: data[at : at + size])


def _list_elf() -> list[bytes]:
    return [(PROGRAMS / name).read_bytes() for name in ("clean", "libfault.so")]


def _read_dwarf(data: bytes) -> None:
    for is_debug_frame in (False, True):
        section = EntrySection(data, 0x1000, is_debug_frame=is_debug_frame)
        at = 0
        while at < len(data):
            entry, next_at = section.read_entry(at)
            if next_at <= at:
                break
            at = next_at
            if entry is not None:
                for _ in iterate_rows(entry):
                    pass


def _list_dwarf() -> list[bytes]:
    found = []
    for data in _list_elf():
        found.append(_open_elf(data).read_section(".eh_frame"))
    return found


def _evaluate(data: bytes) -> None:
    try:
        evaluate(data, dict.fromkeys(range(17), 0x7000), lambda at: at & 0xFFFF)
    except LookupError:
        return  # as it says


_EXPRESSION = bytes([0x77, 8, 0x80, 0, 0x3F, 0x1A, 0x3B, 0x2A, 0x33, 0x24, 0x22])
"""That of a PLT, which is the one that is met most."""


def _read_breakpad(data: bytes) -> None:
    symbols = BreakpadSymbols(data.decode(errors="replace").splitlines())
    for address in (0, 0x1000, 0x1010, 1 << 63):
        symbols.find(address)
        symbols.find_lines(address)


_BREAKPAD = b"""MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 program
INFO CODE_ID 0123456789ABCDEF
FILE 0 main.c
INLINE_ORIGIN 0 inlined
FUNC 1000 40 0 main
INLINE 0 3 0 0 1008 10
1000 10 1 0
1010 30 2 0
FUNC m 1040 10 8 twice
PUBLIC 2000 0 exported
STACK CFI INIT 1000 40 .cfa: $rsp 8 + .ra: .cfa -8 + ^
"""


def _read_recorder(data: bytes) -> None:
    decode_recording(data, 1000 * 10**9)
    decode_crash(data[4096:8192])


def _list_recorders() -> list[bytes]:
    """Also one that a real program left."""
    tests = _import_test("test_recorder")
    made = tests.make_recorder()
    for slot, name in enumerate((b"main", b"render")):
        tests.put_heartbeat(made, slot, name, 999 * 10**9)
    for sequence in range(1, 12):
        tests.put_event(made, sequence)
    return [bytes(made), *_record()]


def _record() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        if os.fork() == 0:
            os.environ["PERIMORTEM_RUN_DIR"] = folder
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.execv(TARGET, [str(TARGET), f"{folder}/pid", "crash"])
        _, status = os.wait()
        assert os.WTERMSIG(status) == signal.SIGSEGV
        return [path.read_bytes() for path in Path(folder).glob("*.rec")]


def _list_messages() -> list[bytes]:
    return [make_crash(1), *(make_frame(kind) for kind in range(12))]


def _read_chain(data: bytes) -> None:
    processes, notes = parse_process_list(data.decode(errors="replace").splitlines())
    render_chains_text(derive_chains(processes, notes))


_CHAIN = b"""PROCESS fffffa8012345678
    SessionId: 2  Cid: 12a4    Peb: 7efdf000  ParentCid: 0a10
    DirBase: 1a2b3c000  ObjectTable: fffff8a06cd2ac50  HandleCount:  54.
    Image: game.exe
PROCESS fffffa8012345688
    SessionId: 2  Cid: 12b8    Peb: 7efdf000  ParentCid: 0a10
    Image: WerFault.exe
    CommandLine: C:\\Windows\\SysWOW64\\WerFault.exe -u -p 4772 -s 1234
"""


def _read_settings(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="faults-") as file:
        file.write(data)
        file.flush()
        read_file(Path(file.name))
    text = data.decode(errors="replace").replace("\0", "")
    read_environment({"PERIMORTEM_THRESHOLD": text, "PERIMORTEM_MAX_USE": text})


_SETTINGS = b"""grace = 30
dump-type = "mini"
max-use = "10%"
max-age = "30d"
beat-from = ["progress", "file:/tmp/x"]
quiet = false
[threshold]
default = 10
render = 0.5
"""


def _read_report(data: bytes) -> None:
    report = read_report(data.decode(errors="replace"))
    render_account(report, full=True)
    render_page(report, None, None)


def _list_reports() -> list[bytes]:
    text = encode(make_report())
    older = json.loads(text)
    older |= {"schema_version": 1, "where": "in it", "who": "itself"}
    return [text.encode(), json.dumps(older).encode()]


def _read_wer(data: bytes) -> None:
    text = data.decode(errors="replace")
    parse_event(text)
    parse_report(text)


_WER = b"""Version=1
EventType=APPCRASH
ReportIdentifier=01234567-0123-0123-0123-0123456789ab
Sig[0].Name=Application Name
Sig[0].Value=game.exe
DynamicSig[1].Name=OS Version
AppPath=C:\\game.exe
"""
_MAPS = b"""00400000-00401000 r-xp 00000000 08:01 131 /bin/true
Size:                  4 kB
Rss:                   4 kB
VmFlags: rd ex mr mw me dd
7ffc0000-7ffd0000 rw-p 00000000 00:00 0 [stack]
Size:                 64 kB
"""


def _read_maps(data: bytes) -> None:
    parse_maps(data)
    parse_smaps(data)
    parse_smaps(data, of_note=True)


def _demangle(data: bytes) -> None:
    demangle(data.decode(errors="replace"))


_MANGLED = [
    b"_ZN4core3ops8function6FnOnce9call_once17h0123456789abcdefE",
    b"_RNvCs1234_7mycrate3foo",
    b"_ZNSt6vectorIiSaIiEE9push_backERKi",
    b"_Z1fSt4pairIiiE" + b"".join(b"S_IS%c_S%c_E" % (n, n) for n in b"0123456789"),
]


def _read_answers(data: bytes) -> None:
    """Of workers: a hostile dump may make one say anything."""
    decode_progress(data)
    decode_hold(data)
    decode_answer(data)
    try:
        decode_result(data)
    except ValueError:
        return  # as it says


_ANSWERS = [
    b'{"hold": {"since_ticks": 17}}\n',
    b'{"path": "/tmp/x.dmp", "types": 1, "size_bytes": 3, "target_paused_ms": 1.5, "thread_count": 1, '
    b'"soft_errors": [], "error": null}\n',
]

READERS = {
    "dumps": Reader(_read_dump, _list_dumps),
    "elf": Reader(_read_elf, _list_elf),
    "dwarf": Reader(_read_dwarf, _list_dwarf),
    "expressions": Reader(_evaluate, lambda: [_EXPRESSION]),
    "breakpad": Reader(_read_breakpad, lambda: [_BREAKPAD]),
    "recorder": Reader(_read_recorder, _list_recorders),
    "messages": Reader(decode_message, _list_messages),
    "process-lists": Reader(_read_chain, lambda: [_CHAIN]),
    "settings": Reader(_read_settings, lambda: [_SETTINGS]),
    "reports": Reader(_read_report, _list_reports),
    "wer": Reader(_read_wer, lambda: [_WER]),
    "maps": Reader(_read_maps, lambda: [_MAPS]),
    "names": Reader(_demangle, lambda: _MANGLED),
    "answers": Reader(_read_answers, lambda: _ANSWERS),
}  # fmt: skip
