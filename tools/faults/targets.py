"""Programs that are hard to dump, dumped again and again: none of them may notice.

Cases: PROGRAM/PAUSE. Each program checks itself, and ends with status 0 if nothing has disturbed it.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .place import PROGRAMS, Place
from .processes import await_true, describe_stop
from .row import Plan, Played, Row

_PAUSES = ("stop", "snapshot", "none")
_DUMPS = {True: 2, False: 5}
_THREADS = 5000
_PATIENCE_S = 120.0

_JAVA = """
public class Self {
  public static void main(String[] a) throws Exception {
    Thread[] all = new Thread[16];
    long[] sums = new long[16];
    boolean[] stop = {false};
    for (int t = 0; t < 16; t++) {
      int me = t;
      all[t] = new Thread(() -> {
        byte[] data = new byte[1 << 16];
        new java.util.Random(me).nextBytes(data);
        java.util.zip.CRC32 first = new java.util.zip.CRC32();
        first.update(data);
        while (true) {
          synchronized (stop) { if (stop[0]) break; }
          java.util.zip.CRC32 again = new java.util.zip.CRC32();
          again.update(data.clone());
          if (again.getValue() != first.getValue()) System.exit(9);
          sums[me]++;
        }
      });
      all[t].start();
    }
    System.out.println("ready");
    System.in.read();
    synchronized (stop) { stop[0] = true; }
    for (Thread t : all) t.join();
    for (long sum : sums) if (sum == 0) System.exit(8);
  }
}
"""
_NODE = """
const crypto = require('crypto');
const data = crypto.randomBytes(1 << 16);
const first = crypto.createHash('sha256').update(data).digest('hex');
let rounds = 0;
const timer = setInterval(() => {
  const again = crypto.createHash('sha256').update(Buffer.from(data)).digest('hex');
  if (again !== first) process.exit(9);
  rounds++;
}, 1);
process.stdin.on('data', () => {});
process.stdin.on('end', () => { clearInterval(timer); process.exit(rounds ? 0 : 8); });
console.log('ready');
"""
_GO = """
package main

import ("bufio"; "fmt"; "hash/crc32"; "os"; "sync"; "sync/atomic")

func main() {
	var stop atomic.Bool
	var group sync.WaitGroup
	for i := 0; i < 32; i++ {
		group.Add(1)
		go func(seed byte) {
			defer group.Done()
			data := make([]byte, 1<<16)
			for at := range data { data[at] = byte(at) * seed }
			first := crc32.ChecksumIEEE(data)
			for !stop.Load() {
				if crc32.ChecksumIEEE(append([]byte{}, data...)) != first { os.Exit(9) }
			}
		}(byte(i))
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadByte()
	stop.Store(true)
	group.Wait()
}
"""
_PYTHON = """
import hashlib, sys, threading
data = bytes(range(256)) * 256
first, rounds, bad, stop = hashlib.sha256(data).digest(), [0] * 8, [], threading.Event()
def work(me):
    while not stop.is_set():
        if hashlib.sha256(bytearray(data)).digest() != first: bad.append(me)
        rounds[me] += 1
threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
for thread in threads: thread.start()
print("ready", flush=True)
sys.stdin.read()
stop.set()
for thread in threads: thread.join()
sys.exit(9 if bad or 0 in rounds else 0)
"""


@dataclass(frozen=True)
class Program:
    """Prints a line when it is ready, and ends with its standard input."""

    build: Callable[[Path], list[str]]
    """Its command; what it needs is written into the folder."""
    needs: str = ""
    """A tool."""
    needs_root: bool = False
    status: int | None = 0
    """How it ends; None: it is killed, and only has to be running until then."""


def _tested(name: str, *arguments: str, status: int | None = None) -> Program:
    return Program(lambda _folder: [str(PROGRAMS / name), *arguments], status=status)


def _written(name: str, text: str, *command: str) -> Callable[[Path], list[str]]:
    def build(folder: Path) -> list[str]:
        (folder / name).write_text(text)
        return [*command, str(folder / name)]

    return build


def _build_go(folder: Path) -> list[str]:
    (folder / "self.go").write_text(_GO)
    environment = {
        **os.environ,
        "GOFLAGS": "-mod=mod",
        "GO111MODULE": "off",
        "GOCACHE": f"{folder}/go",
    }
    argv = ["go", "build", "-o", str(folder / "self"), str(folder / "self.go")]
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    return [str(folder / "self")]


def _build_setuid(folder: Path) -> list[str]:
    folder.chmod(0o755)
    program = folder / "health"
    shutil.copy(PROGRAMS / "health", program)
    program.chmod(0o4755)
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(program), "8"]


_HEALTH, _THREADED = str(PROGRAMS / "health"), str(PROGRAMS / "many_threads")
TARGETS = {
    "health": _tested("health", "32", status=0),
    "5000-threads": _tested("many_threads", str(_THREADS)),
    "vfork-parent": _tested("vfork_parent"),
    "dead-leader": _tested("leader_exits"),
    "pthread-exit-main": _tested("pthread_exit_main"),
    "python": Program(_written("self.py", _PYTHON, sys.executable)),
    "jvm": Program(_written("Self.java", _JAVA, "java", "-Xmx128m"), "java"),
    "node": Program(_written("self.js", _NODE, "node"), "node"),
    "go": Program(_build_go, "go"),
    "valgrind": Program(lambda _: ["valgrind", "-q", _THREADED, "4"], "valgrind", status=None),
    "real-time": Program(lambda _: ["chrt", "-f", "1", _HEALTH, "8"], "chrt", needs_root=True),
    "setuid": Program(_build_setuid, "setpriv", needs_root=True),
}  # fmt: skip
NOT_THERE = {"io_uring": "no such program is in tests/programs"}


class Targets(Row):
    name = "targets"
    title = "dumps of programs that are hard to dump"
    zeros = ("harmed", "left stopped or traced", "half files", "failed")

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Each once; in the short form one way of pausing each."""
        for number, name in enumerate((*TARGETS, *NOT_THERE)):
            pauses: tuple[str, ...] = _PAUSES
            if plan.is_short or name in NOT_THERE:
                pauses = (_PAUSES[(number + plan.seed) % len(_PAUSES)],)
            for pause in pauses:
                yield f"{name}/{pause}/{_DUMPS[plan.is_short]}"

    def play(self, case: str) -> Played:
        name, pause, count = case.split("/")
        if name in NOT_THERE:
            return Played(not_tried=NOT_THERE[name])
        program = TARGETS[name]
        if program.needs and not shutil.which(program.needs):
            return Played(not_tried=f"{program.needs} is not installed")
        if program.needs_root and os.geteuid() != 0:
            return Played(not_tried="needs root")
        played = Played()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            place = Place(Path(folder))
            _dump(place, program, pause, int(count), played)
            place.check_files(played)
        return played


def _dump(place: Place, program: Program, pause: str, count: int, played: Played) -> None:
    target = subprocess.Popen(
        program.build(place.base), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert target.stdout is not None
    assert target.stdin is not None
    target.stdout.readline()
    for number in range(count):
        kind = ("mini", "full")[number % 2]
        path = place.base / f"{number}.dmp"
        result = place.call("dump", target.pid, "--type", kind, "--pause", pause, "-o", path)
        played.add("dumps" if result.returncode == 0 else "dumps refused, with the reason")
        if "Traceback" in result.stderr:
            played.fail("failed", result.stderr[-1000:])
        path.unlink(missing_ok=True)
    if not await_true(lambda: describe_stop(target.pid) is None, 5):
        played.fail("left stopped or traced", str(describe_stop(target.pid)))
    if program.status is None and target.poll() is None:
        target.send_signal(signal.SIGKILL)
        target.communicate()
        return
    said, _ = target.communicate(timeout=_PATIENCE_S)
    if target.returncode != program.status:
        played.fail("harmed", f"status {target.returncode}: {said[-300:]}")
