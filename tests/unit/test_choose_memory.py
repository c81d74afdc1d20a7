"""Which memory a flag means."""

from __future__ import annotations

import struct
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("captures of Linux", allow_module_level=True)

from perimortem.binary.user_regs import X86_64_REGISTERS
from perimortem.capture.linux.choose_memory import (
    STACK_MAX,
    TOTAL_MAX,
    choose_memory,
)
from perimortem.capture.linux.redact import (
    REMOVED_REGISTER,
    filter_paths,
    filter_registers,
    filter_triage,
    filter_words,
)
from perimortem.model.dump import DumpOptions, MinidumpType
from perimortem.model.snapshot import MemoryRange, Module, Region, Registers, Thread

T = MinidumpType
MIB = 1 << 20


def region(start, size, rights, path="", inode=0, flags=()):
    r, w, x, s = (letter in rights for letter in "rwxs")
    return Region(start, start + size, r, w, x, s, 0, inode, path, frozenset(flags))


REGIONS = (
    region(0x400000, 0x1000, "r", "/bin/test", 1),
    region(0x401000, 0x4000, "rx", "/bin/test", 1),
    region(0x405000, 0x2000, "rw", "/bin/test", 1),
    region(0x407000, 0x1000, "rw"),
    region(0x1000000, 4 * MIB, "rw", "[heap]"),
    region(0x2000000, MIB, "rws", "/dev/shm/x", 7),
    region(0x3000000, MIB, "rw", "", 0, {"dd"}),
    region(0x4000000, MIB, "rw", "/dev/dri/card0", 9, {"io", "pf"}),
    region(0x5000000, MIB, "rw", "/data/map", 11),
    region(0x7000000, 64 * 1024, "rw", "[stack]"),
)
MODULES = (Module(0x400000, 0x8000, "/bin/test", None),)
STACK_AT = 0x7000000 + 60 * 1024
REGISTERS = Registers(
    dict.fromkeys(X86_64_REGISTERS, 0) | {"rip": 0x401100, "rsp": STACK_AT, "fs_base": 0x1100000}
)
THREADS = (Thread(1, "t", REGISTERS),)
POINTER = 0x1234560


def read(address, size):
    """A stack of one word again and again: a pointer into the heap."""
    return (struct.pack("<Q", POINTER) * (size // 8 + 1))[:size]


def iter_changed(region):
    yield MemoryRange(region.start, 4096)


def choose(
    types, include_dontdump=False, threads=THREADS, regions=REGIONS, iter_changed=iter_changed
):
    errors = []
    options = DumpOptions(types, include_dontdump=include_dontdump)
    choice = choose_memory(options, threads, regions, MODULES, [], read, iter_changed, errors)
    ends = 0
    for chosen in choice.ranges:
        assert chosen.address >= ends
        ends = chosen.address + chosen.size
    return choice, errors


def holds(choice, address, size=1):
    return any(r.address <= address and address + size <= r.address + r.size for r in choice.ranges)


def touches(choice, address, size):
    return any(r.address < address + size and address < r.address + r.size for r in choice.ranges)


def test_normal_is_stacks_code_at_the_pointer_and_heads_of_modules():
    choice, errors = choose(T.NORMAL)
    assert holds(choice, STACK_AT, 4096)
    assert holds(choice, 0x401100, 64)
    assert holds(choice, 0x400000, 4096)
    assert not holds(choice, 0x405000)
    assert choice.size < 16384
    assert errors == []


@pytest.mark.parametrize(
    ("flag", "address", "size"),
    [
        (T.WITH_DATA_SEGS, 0x405000, 0x3000),  # .data and .bss
        (T.WITH_CODE_SEGS, 0x402000, 0x3000),  # beyond the code around the program counter
        (T.WITH_PRIVATE_READ_WRITE_MEMORY, 0x1000000, 4 * MIB),
        (T.WITH_PROCESS_THREAD_DATA, 0x1100000, 2304),
        (T.WITH_INDIRECTLY_REFERENCED_MEMORY, POINTER - 256, 1024),
        (T.WITH_PRIVATE_WRITE_COPY_MEMORY, 0x5000000, 4096),
        (T.WITH_FULL_MEMORY, 0x1000000, 4 * MIB),
        (T.WITH_FULL_MEMORY, 0x2000000, MIB),
    ],
)
def test_a_flag_takes_its_memory_and_without_it_none_of_it_is_there(flag, address, size):
    assert holds(choose(flag)[0], address, size)
    assert not touches(choose(T.NORMAL)[0], address, size)


def test_full_memory_takes_the_heads_of_modules_and_leaves_their_code_to_the_files():
    choice, _ = choose(T.WITH_FULL_MEMORY, iter_changed=lambda region: ())
    assert holds(choice, 0x400000, 4096)
    assert not touches(choice, 0x401000, 0x4000)
    changed, _ = choose(T.WITH_FULL_MEMORY)
    assert holds(changed, 0x401000, 4096)  # but for what was changed in memory


def test_what_is_not_to_be_dumped_is_left_out_and_named():
    choice, errors = choose(T.WITH_FULL_MEMORY)
    assert not holds(choice, 0x3000000)
    assert not holds(choice, 0x4000000)
    assert len(errors) == 2
    assert any("MADV_DONTDUMP" in error for error in errors)
    assert any("device memory" in error for error in errors)
    choice, errors = choose(T.WITH_FULL_MEMORY, include_dontdump=True)
    assert holds(choice, 0x3000000, MIB)
    assert not holds(choice, 0x4000000)


def test_without_optional_data_only_stacks_are_left():
    choice, _ = choose(T.WITHOUT_OPTIONAL_DATA)
    assert not holds(choice, 0x401100)
    assert not holds(choice, 0x400000)
    assert holds(choice, STACK_AT, 4096)
    choice, _ = choose(T.WITHOUT_OPTIONAL_DATA | T.WITH_MODULE_HEADERS)
    assert holds(choice, 0x400000, 4096)


def test_a_runaway_stack_is_cut_and_many_keep_their_tops():
    stacks = tuple(region(0x10000000 + i * 0x200000, MIB, "rw", f"[anon:{i}]") for i in range(1000))
    threads = tuple(
        Thread(i, "", Registers(REGISTERS.general | {"rsp": stack.start}))
        for i, stack in enumerate(stacks)
    )
    choice, errors = choose(T.NORMAL, threads=threads, regions=(*REGIONS[:4], *stacks))
    assert choice.size <= TOTAL_MAX
    assert all(holds(choice, stack.start, 4096) for stack in stacks)
    assert any(f"{STACK_MAX} of" in error for error in errors)
    assert any("were left out: over 96 MiB" in error for error in errors)


def test_filtered_words_point_to_code_or_the_stack_itself():
    words = [0x401234, 0x5EC2E7, 0x7FF0, 0, 0xFFFFFFFFFFFFFFFF]
    data = struct.pack("<5Q", *words) + b"abc"
    kept = filter_words(data, [(0x7000, 0x8000), (0x401000, 0x405000)])
    assert struct.unpack_from("<5Q", kept) == (0x401234, 0, 0x7FF0, 0, 0)
    assert kept[40:] == bytes(3)


def test_paths_are_filtered_everywhere():
    from test_minidump import make_snapshot

    snapshot = make_snapshot(
        files={
            "maps": b"400000-401000 r-xp 00000000 08:01 77   /home/me/secret/test\n",
            "cmdline": b"x",
        }
    )
    filtered = filter_paths(snapshot)
    assert filtered.modules[0].path == "test"
    assert filtered.handles[0].object_name == "ä"
    assert filtered.files["maps"].endswith(b"77   test\n")
    assert "cmdline" not in filtered.files


def test_registers_of_a_triage_dump_hold_addresses_and_numbers():
    """A short string is copied through registers."""
    from test_minidump import make_snapshot

    regions = make_snapshot().regions
    mapped = regions[0].start + 8
    text = int.from_bytes(b"hunter2!", "little")
    part, key = int.from_bytes(b"unter", "little"), 0x8F3A_11C2_90E4_6D07
    values = {
        "rax": text, "rbx": part, "rcx": key, "rdx": key >> 32, "rsi": mapped, "rdi": 17,
        "r8": 2**64 - 110, "r9": 0x7F12_34AB_CDEF, "r10": 0x5A5A_5A5A_5A5A_5A5A, "r11": 0,
        "rip": text, "eflags": 0x10246, "fs_base": 0x7F00_0000_1740,
    }  # fmt: skip
    filtered = filter_registers(Registers(values, extended=b"secret"), regions)
    removed = {"rax", "rbx", "rcx", "rdx", "rip"}
    assert {n for n, v in filtered.general.items() if v == REMOVED_REGISTER} == removed
    assert all(filtered.general[name] == values[name] for name in values.keys() - removed)
    assert filtered.extended is None
    assert filter_registers(filtered, regions) == filtered


def test_a_triage_dump_names_modules_only():
    from test_minidump import make_snapshot

    snapshot = make_snapshot(
        files={
            "maps": b"400000-401000 r-xp 00000000 08:01 77   /home/me/test\n"
            b"500000-501000 rw-s 00000000 08:01 78   /home/me/secret name.dat\n"
            b"600000-601000 rw-p 00000000 00:00 0    [heap]\n"
            b"700000-701000 rw-p 00000000 00:00 0    [anon:secret]\n"
            b"800000-801000 rw-p 00000000 00:00 0 \n",
            "status": b"Name:\tsecret\nPid:\t7\nUid:\t1000\t1000\nGroups:\t4 24\nThreads:\t1\n",
        },
        soft_errors=[
            "4096 bytes at 0x500000 (/home/me/secret name.dat) were left out: device memory"
        ],
    )
    filtered = filter_triage(filter_paths(snapshot))
    assert filtered.files["maps"].splitlines()[0].endswith(b" test")
    kept = [line.split(None, 5)[5:] for line in filtered.files["maps"].splitlines()]
    assert kept == [[b"test"], [b"[file]"], [b"[heap]"], [b"[anon]"], []]
    assert filtered.files["status"] == b"Pid:\t7\nThreads:\t1\n"
    assert {thread.name for thread in filtered.threads} == {""}
    assert filtered.handles[0].object_name == ""
    assert filtered.soft_errors == ["4096 bytes at 0x500000 ([file]) were left out: device memory"]
