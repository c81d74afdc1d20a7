"""Reporters that report reporters: storms with a planted first fault, damaged text, cycles, kinds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perimortem.analysis.chain import derive_chains
from perimortem.analysis.ends import End, derive_end_chains
from perimortem.analysis.process_list import parse_process_list
from perimortem.model.chain import ListedProcess, Relation
from perimortem.model.evidence import Confidence
from perimortem.report.chain import render_chains, render_chains_text

SEED = Path(__file__).resolve().parents[3] / "shared" / "seeds"
WER = "C:\\Windows\\SysWOW64\\WerFault.exe"


def describe(rng, pid, parent, image, command_line=""):
    """A block as `!process 0 0x1f` prints it."""
    address = f"fffffa80{rng.randrange(1 << 32):08x}"
    lines = [
        f"PROCESS {address}",
        f"    SessionId: 2  Cid: {pid:x}    Peb: 7efdf000  ParentCid: {parent:x}",
        f"    DirBase: {rng.randrange(1 << 36):x}  ObjectTable: fffff8a06cd2ac50  HandleCount:  54.",
        f"    Image: {image}",
    ]
    if command_line:
        lines.append(f"    CommandLine:  '{command_line}'")
    return "\n".join(lines) + "\n"


def make_storm(rng, count, chains):
    """(text, {pid of first fault: how many reporters follow it}): WerFault processes, shuffled."""
    pids = rng.sample(range(4, 1 << 22, 4), count + chains + 50)
    faults = [pids.pop() for _ in range(chains)]
    blocks = [
        describe(rng, pid, 4, f"app{i}.exe", f"app{i}.exe --serve") for i, pid in enumerate(faults)
    ]
    blocks += [describe(rng, pids.pop(), 4, "svchost.exe") for _ in range(50)]
    last = {fault: fault for fault in faults}
    followers = dict.fromkeys(faults, 0)
    for _ in range(count):
        fault = rng.choice(faults)
        reported, pid = last[fault], pids.pop()
        form = rng.randrange(5)
        number = f"{reported:#x}" if form == 1 else f"0n{reported}" if form == 2 else str(reported)
        command_line = f"{WER} -u -p {number} -s {rng.randrange(1, 9999)}"
        if form == 3:
            command_line = f"{WER} -pss -s {rng.randrange(1, 9999)} -p {number} -ip {number}"
        if form == 4:  # not shown, as in the listing of a kernel dump: the parent shows it
            command_line = ""
        parent = reported if form == 4 else rng.choice([reported, 4])
        blocks.append(describe(rng, pid, parent, "WerFault.exe", command_line))
        last[fault] = pid
        followers[fault] += 1
    rng.shuffle(blocks)
    return "0: kd> !process 0 0\n" + "\n".join(blocks), followers


@pytest.mark.parametrize("seed", range(10))
def test_the_first_fault_of_a_storm_is_found(seed):
    rng = random.Random(seed)
    text, followers = make_storm(rng, 5000, rng.randint(1, 4))
    processes, notes = parse_process_list(text.splitlines())
    assert len(processes) == 5050 + len(followers)
    assert notes == []
    chains = derive_chains(processes, notes)
    found = {fault.pid: fault.count for fault in chains.first_faults}
    assert found == {pid: count for pid, count in followers.items() if count}
    assert all(fault.process.name.startswith("app") for fault in chains.first_faults)
    assert all(fault.depth == fault.count for fault in chains.first_faults)
    worst = max(followers, key=followers.get)
    shown = render_chains_text(chains)
    assert f"{worst} ({worst:#x})" in shown.splitlines()[0]
    assert "ExcludedApplications" in shown
    assert len(shown) < 10_000


@pytest.mark.skipif(
    not SEED.is_dir(), reason="the listing of the pattern's description is not here"
)
def test_the_listing_that_the_pattern_was_described_by():
    text = next(SEED.glob("002_*")).read_text()
    processes, _ = parse_process_list(text.splitlines())
    by_pid = {process.pid: process for process in processes}
    assert by_pid[0x2D3C8].command_line.endswith("WerFault.exe -u -p 189240 -s 3888")
    chains = derive_chains(processes)
    found = {fault.pid: fault for fault in chains.first_faults}
    assert set(found) == {0x27CB8, 0x47608}
    assert found[0x47608].chain == (0x47608, 0x2E338, 0x2D3C8, 0x33844)
    assert found[0x27CB8].count == 6
    assert all(fault.process is None for fault in found.values())
    assert any("0x47608" in note and "not in the list" in note for note in chains.notes)


@settings(max_examples=60)
@given(cut=st.integers(0, 4000), seed=st.integers(0, 99))
def test_text_that_was_cut_is_read_as_far_as_it_goes(cut, seed):
    text, _ = make_storm(random.Random(seed), 12, 1)
    whole, _ = parse_process_list(text.splitlines())
    processes, _ = parse_process_list(text[:cut].splitlines())
    assert len(processes) <= len(whole)
    known = {process.pid for process in whole}
    # The number that the text was cut in may be a shorter one; all others are those of the whole.
    assert sum(process.pid not in known for process in processes) <= 1
    derive_chains(processes)


@given(text=st.text(alphabet="PROCESSCid: 0123456789abcdef\n-pIparent", max_size=400))
def test_any_text_is_survived(text):
    processes, notes = parse_process_list(text.splitlines())
    render_chains(derive_chains(processes, notes))


def reporter(pid, reports=None, created=None, parent=None, name="WerFault.exe"):
    line = f"{WER} -u -p {reports} -s 8" if reports is not None else ""
    return ListedProcess(pid, parent, name, line, created)


def test_a_cycle_of_pids_is_cut_and_reported():
    chains = derive_chains([reporter(1, 2), reporter(2, 3), reporter(3, 1), reporter(9, 3)])
    assert len(chains.links) == 3
    assert any("cycle" in note for note in chains.notes)
    assert len(chains.first_faults) == 1


def test_an_assumed_link_gives_way_to_observed_ones():
    chains = derive_chains([reporter(1, 2), reporter(2, None, parent=1)])
    (link,) = chains.links
    assert (link.pid, link.cause_pid, link.relation) == (1, 2, Relation.COMMAND_LINE)


def test_a_pid_that_came_again_is_not_followed():
    old = ListedProcess(7, 4, "app.exe", "app.exe", created=100.0)
    chains = derive_chains([old, reporter(8, 7, created=50.0)])
    assert chains.first_faults == ()
    assert "younger" in chains.notes[0]


def test_a_process_that_reports_itself_is_no_chain():
    assert derive_chains([reporter(5, 5)]).links == ()


@pytest.mark.parametrize(
    ("name", "command_line", "pid"),
    [
        ("systemd-coredump", "/lib/systemd/systemd-coredump 4711 1000 1000 11 1700000000", 4711),
        ("apport", "/usr/share/apport/apport -p4711 -s11 -c0", 4711),
        ("apport", "/usr/share/apport/apport 4711 11 0 1", 4711),
        ("abrt-hook-ccpp", "/usr/libexec/abrt-hook-ccpp 11 0 4711 0 0 1700000000", 4711),
        ("drkonqi", "drkonqi --platform xcb --pid 4711 --signal 11", 4711),
        ("gdb", "gdb -batch -p 4711 -ex bt", 4711),
        ("gdb", "gdb ./server 4711", 4711),
        ("WerFault.exe", "WerFault.exe -pss -s 456 -p 99 -ip 4711", 4711),
        ("werfault.exe", '"C:\\Windows\\System32\\WerFault.exe" /p 4711 /s 1', 4711),
    ],
)
def test_reporters_of_every_kind(name, command_line, pid):
    target = ListedProcess(4711, 1, "server", "./server")
    chains = derive_chains([target, ListedProcess(5000, 1, name, command_line)])
    (fault,) = chains.first_faults
    assert fault.pid == pid
    assert chains.links[0].confidence is Confidence.OBSERVED
    assert any(advice.startswith("to stop the chain") for advice in chains.advice)


def test_ends_that_followed_from_another():
    ends = [
        End(1, 100, 1, "database", "crash", 10.000),
        End(2, 200, 100, "worker", "killed", 10.020),
        End(3, 300, 1, "web", "failed-exit", 10.060),
        End(4, 400, 1, "other", "crash", 99.0),
        End(5, 500, 1, "calm", "clean-exit", 10.030),
    ]
    chains = derive_end_chains(ends, within_s=0.1)
    (fault,) = chains.first_faults
    assert (fault.pid, fault.count) == (1, 2)
    links = {link.pid: link for link in chains.links}
    assert "20 ms after database[100], its parent" in links[2].words
    assert links[2].confidence is Confidence.DERIVED
    assert links[3].confidence is Confidence.ASSUMED


def test_a_chain_may_be_very_deep():
    text, _ = make_storm(random.Random(1), 20_000, 1)
    processes, _ = parse_process_list(text.splitlines())
    assert derive_chains(processes).first_faults[0].count == 20_000


@pytest.mark.parametrize(
    "line",
    [
        f"ElapsedTime  {'9' * 400}:99:99",
        f"CommandLine:  WerFault.exe -u -p {'9' * 5000} -s 8",
        f"CommandLine:  WerFault.exe -u -p 0x{'f' * 40} -s 8",
        f"CommandLine:  gdb --pid={'9' * 5000}",
        f"SessionId: 2  Cid: {'f' * 400}    ParentCid: 4",
    ],
)
def test_numbers_that_are_no_pids_are_none(line):
    text = describe(random.Random(1), 4096, 4, "WerFault.exe") + f"    {line}\n"
    listed, notes = parse_process_list(text.splitlines())
    chains = derive_chains(listed, notes)
    assert all(fault.pid < 1 << 32 for fault in chains.first_faults)
    render_chains_text(chains)


def test_names_reach_no_terminal_as_they_are():
    name = "\033]0;evil\007\302\233app.exe"
    listed = [
        ListedProcess(1000, 4, name),
        ListedProcess(2000, 1000, "WerFault.exe", "WerFault.exe -u -p 1000"),
    ]
    chains = derive_chains(listed)
    text = render_chains_text(chains) + str(render_chains(chains).advice)
    assert all(character.isprintable() or character == "\n" for character in text)
