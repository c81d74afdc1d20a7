"""Signals, terminals and job control: as without us."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import await_true

pexpect = pytest.importorskip("pexpect")

pytestmark = pytest.mark.system

COUNTER = """
import os, signal, sys, time
counts = {}
def count(number, frame): counts[number] = counts.get(number, 0) + 1
names = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "CONT")
for name in names: signal.signal(getattr(signal, "SIG" + name), count)
print("ready", flush=True)
for line in sys.stdin:
    time.sleep(0.3)
    print({signal.Signals(n).name: c for n, c in sorted(counts.items())}, flush=True)
    counts.clear()
"""
PASSED_ON = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "CONT")


def start_counter(perimortem, **options):
    process = perimortem.start(
        "run", "-q", "--", sys.executable, "-c", COUNTER, stdin=subprocess.PIPE, **options
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ask(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.parametrize("name", PASSED_ON)
def test_a_signal_to_run_alone_arrives_exactly_once(perimortem, name):
    process = start_counter(perimortem)
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert ask(process) == f"{{'SIG{name}': 1}}"
    process.stdin.close()
    process.wait(timeout=20)


@pytest.mark.parametrize("name", PASSED_ON)
def test_a_signal_to_the_whole_group_arrives_exactly_once(perimortem, name):
    """As `kill -TERM -PGID`, or a supervisor that ends a control group, sends it."""
    process = start_counter(perimortem, start_new_session=True)
    os.killpg(process.pid, getattr(signal, f"SIG{name}"))
    assert ask(process) == f"{{'SIG{name}': 1}}"
    process.stdin.close()
    process.wait(timeout=20)


def test_a_stop_and_a_continue_are_passed_on(perimortem):
    process = perimortem.start(
        "run", "-q", "--", sys.executable, "-c", COUNTER, stdin=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {p: Path(f"/proc/{p}/cmdline").read_bytes().split(b"\0") for p in children}
    (pid,) = [p for p, words in commands.items() if words[1] == b"-c"]

    def state():
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    # A session without a terminal has no job control: its programs cannot be stopped by TSTP.
    process.send_signal(signal.SIGTSTP)
    os.kill(int(pid), signal.SIGSTOP)
    await_true(lambda: state() == "T")
    process.send_signal(signal.SIGCONT)
    await_true(lambda: state() != "T")
    process.stdin.close()
    process.wait(timeout=20)


def test_propagate_signal_dies_as_the_command_did(perimortem, programs):
    for number, script in ((signal.SIGSEGV, "kill -SEGV $$"), (signal.SIGKILL, "kill -9 $$")):
        result = perimortem.call("run", "-q", "--propagate-signal", "--", "sh", "-c", script)
        assert result.returncode == -number
    result = perimortem.call("run", "-q", "--propagate-signal", "--", "sh", "-c", "exit 3")
    assert result.returncode == 3


@pytest.fixture()
def shell(perimortem):
    """An interactive bash on its own terminal."""
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env={**perimortem.env, "PS1": "bash> "},
        encoding="utf-8", timeout=20, dimensions=(24, 100),
    )  # fmt: skip
    child.expect_exact("bash> ")
    child.sendline(
        "bind 'set enable-bracketed-paste off'; alias pr='"
        + sys.executable
        + " -m perimortem run -q'"
    )
    child.expect_exact("bash> ")
    yield child
    child.sendline("exit")
    child.close(force=True)


def test_ctrl_c_arrives_once(shell):
    shell.sendline(
        "pr -- " + sys.executable + " -c 'import signal,time\n"
        'signal.signal(2, lambda *a: print("caught", flush=True))\n'
        'print("up", flush=True); time.sleep(1.5); print("done")\''
    )
    shell.expect("up\r")
    shell.sendintr()
    shell.expect("done\r")
    assert shell.before.count("caught") == 1
    shell.expect_exact("bash> ")


def test_ctrl_z_stops_both_and_fg_goes_on(shell):
    shell.sendline("pr -- cat")
    shell.sendline("first")
    shell.expect("first\r\nfirst\r")
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect_exact("bash> ")
    shell.sendline("echo still $((6*7))")
    shell.expect("still 42")
    shell.sendline("fg")
    shell.expect("perimortem run")
    shell.sendline("second")
    shell.expect("second\r\nsecond\r")
    shell.sendeof()
    shell.expect_exact("bash> ")


def test_a_program_of_the_background_that_reads_is_stopped_and_so_are_we(shell):
    shell.sendline("pr -- cat &")
    shell.expect_exact("bash> ")
    shell.sendline("until jobs | grep Stopped; do sleep 0.05; done")
    shell.expect("Stopped .*-- cat")
    shell.sendline("kill -9 %1; fg")
    shell.expect_exact("bash> ")


def test_an_editor_and_a_pager(shell, tmp_path):
    if not Path("/usr/bin/vi").exists() or not Path("/usr/bin/less").exists():
        pytest.skip("vi or less is not installed")
    shell.sendline(f"TERM=xterm pr -- vi {tmp_path}/text")
    shell.expect(r"\[New")
    shell.send("ihello\x1b")
    shell.sendcontrol("z")
    shell.expect("Stopped")
    shell.expect_exact("bash> ")
    shell.sendline("fg")
    shell.expect("hello")
    shell.send(":wq\r")
    shell.expect_exact("bash> ")
    await_true((tmp_path / "text").exists)
    assert (tmp_path / "text").read_text() == "hello\n"
    shell.sendline("TERM=xterm pr -- less /etc/passwd; echo left $?")
    shell.expect("root:")
    shell.send("q")
    shell.expect("left 0")


@pytest.mark.parametrize("options", ["", "--beat-from output"])
def test_the_window_size_is_known_and_follows(shell, options):
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGWINCH, lambda *a: None)\n"
        'print("now", *os.get_terminal_size(1), sys.stdout.isatty(), flush=True)\n'
        'sys.stdin.readline(); print("then", *os.get_terminal_size(1))'
    )
    shell.sendline(f"pr {options} -- {sys.executable} -c '{script}'")
    shell.expect(r"now (\d+) (\d+) True\r")
    assert shell.match.groups() == ("100", "24")
    shell.setwinsize(30, 80)
    shell.sendline("sleep")
    shell.expect(r"then (\d+) (\d+)")
    assert shell.match.groups() == ("80", "30")
    shell.expect_exact("bash> ")


def test_a_python_prompt(shell):
    shell.sendline(f"pr -- {sys.executable} -q")
    shell.expect_exact(">>> ")
    shell.sendline("6 * 7")
    shell.expect("42\r")
    shell.expect_exact(">>> ")  # only at the prompt it reads what is typed
    shell.sendintr()
    shell.expect("KeyboardInterrupt")
    shell.expect_exact(">>> ")
    shell.sendeof()
    shell.expect_exact("bash> ")


def test_the_group_probe_ends_with_the_monitor(perimortem):
    process = start_counter(perimortem)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (probe,) = [p for p in children if Path(f"/proc/{p}/comm").read_text() == "pmr-group-probe\n"]
    process.kill()
    process.wait()
    await_true(lambda: not Path(f"/proc/{probe}").exists() or _is_zombie(probe))


def _is_zombie(pid):
    return re.search(r"\) Z", Path(f"/proc/{pid}/stat").read_text()) is not None


PROBES = """
import signal
from perimortem.monitor.platform.linux.process_group_probe import ProcessGroupProbe
for _ in range(200):
    ProcessGroupProbe({signal.SIGTERM}).close()
print("all dismissed", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def test_a_group_probe_that_is_dismissed_before_it_has_run_ends(perimortem):
    """Else a command that cannot be started keeps the monitor for ever."""
    result = subprocess.run(
        [sys.executable, "-c", PROBES],
        env=perimortem.env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stdout == "all dismissed []\n", result.stderr


def test_the_sender_of_a_group_signal_is_named(perimortem, tmp_path):
    process = perimortem.start(
        "run", "-q", "--report", tmp_path / "r.json", "--", "sh", "-c", "echo ready; sleep 30",
        start_new_session=True,
    )  # fmt: skip
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=20)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "stopped"
    assert report["exit"]["sender"]["pid"] == os.getpid()
    assert any("to the whole process group" in e["fact"] for e in report["evidence"])


def test_a_terminal_that_is_closed_ends_the_command(perimortem):
    """As `ssh -t host perimortem run ...`: the hang-up comes to the leader of the session alone."""
    command = ["sh", "-c", "echo pid $$; exec sleep 99"]
    child = pexpect.spawn(
        sys.executable, ["-m", "perimortem", "run", "-q", "--", *command],
        env=perimortem.env, encoding="utf-8", timeout=20,
    )  # fmt: skip
    child.expect(r"pid (\d+)")
    pid = int(child.match[1])
    os.close(child.fileno())
    child.closed = True
    await_true(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def test_a_real_time_signal_is_propagated(perimortem):
    result = perimortem.call("run", "-q", "--propagate-signal", "--", "bash", "-c", "kill -40 $$")
    assert result.returncode == -40


def test_an_account_is_wrapped_and_coloured_on_a_terminal_alone(perimortem, programs):
    perimortem.report(programs / "faults", "null-field")
    plain = perimortem.call("show").stdout
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) > 60
    env = {**perimortem.env, "TERM": "xterm-256color"}
    arguments = ["-m", "perimortem", "show"]
    child = pexpect.spawn(sys.executable, arguments, dimensions=(50, 60), env=env, timeout=30)
    child.expect(pexpect.EOF)
    painted = child.before.decode()
    assert "\x1b[1m" in painted
    lines = re.sub(r"\x1b\[[0-9;]*m", "", painted).splitlines()
    assert max(map(len, lines)) <= 60
    assert "".join("".join(lines).split()) == "".join(plain.split())
    labels = {line[:10].strip() for line in plain.splitlines()[1:]}
    assert {line[:10].strip() for line in lines[1:]} == labels  # nothing wrapped stands below them


IGNORES = "trap '' INT; echo ready; while :; do sleep 0.1; done"


def start_ignoring(perimortem):
    child = pexpect.spawn(
        sys.executable, ["-m", "perimortem", "run", "--", "sh", "-c", IGNORES],
        env=perimortem.env, encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect("ready")
    child.sendintr()
    child.expect(r"Ctrl-C was passed on; sh\[(\d+)\].* still run")
    return child, int(child.match[1])


def test_an_interrupt_that_is_ignored_is_answered_and_a_second_one_ends_the_watch(perimortem):
    child, pid = start_ignoring(perimortem)
    try:
        child.sendintr()
        child.expect("the watch ends in 2 s")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert Path(f"/proc/{pid}").exists()
        (row,) = json.loads(perimortem.call("list", "--all", "--json").stdout)
        assert row["pid"] == pid
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_third_interrupt_kills(perimortem):
    child, pid = start_ignoring(perimortem)
    child.sendintr()
    child.expect("Ctrl-C now kills")
    child.sendintr()
    child.expect(rf"killed sh\[{pid}\]")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 137
    assert not Path(f"/proc/{pid}").exists()
