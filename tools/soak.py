"""Healthy programs under `perimortem run` on a loaded machine: none of them may be reported as hung.

    python tools/soak.py [RUNS] [SECONDS]

Runs at default settings, eight at a time, beside four busy processes per core. Programs that are
not installed are skipped and listed. Exit status 1 if a hang was reported.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 8
C_FILE = "#include <stdio.h>\n" + "\n".join(
    f"int f{i}(int a) {{ int s = {i}; for (int j = 0; j < a; j++) s += j * {i}; return s; }}"
    for i in range(400)
)
POOL = (
    "import multiprocessing as m, time\n"
    "def f(i): return sum(range(20000 + i))\n"
    "if __name__ == '__main__':\n"
    "    m.set_start_method('{method}')\n"
    "    end = time.monotonic() + {seconds}\n"
    "    with m.Pool(3) as pool:\n"
    "        while time.monotonic() < end: pool.map(f, range(100)); time.sleep(0.1)\n"
)
THREADS = (
    "import threading, time, queue\n"
    "q = queue.Queue()\n"
    "def work():\n"
    "    while q.get() is not None: sum(range(5000))\n"
    "ts = [threading.Thread(target=work) for _ in range(8)]\n"
    "[t.start() for t in ts]\n"
    "end = time.monotonic() + {seconds}\n"
    "while time.monotonic() < end: q.put(1); time.sleep(0.01)\n"
    "[q.put(None) for _ in ts]; [t.join() for t in ts]\n"
)


@dataclass(frozen=True)
class Program:
    """A command that runs for about the given time."""

    name: str
    needs: str
    argv: tuple[str, ...]


def list_programs(seconds: int, folder: Path) -> list[Program]:
    """Compilers, servers with and without load, pools, idle programs, test suites."""
    (folder / "big.c").write_text(C_FILE)
    python = sys.executable
    shell = "end=$(($(date +%s) + {s})); while [ $(date +%s) -lt $end ]; do {body}; done"

    def loop(body: str) -> tuple[str, ...]:
        return ("sh", "-c", shell.format(s=seconds, body=body))

    redis = (
        f"redis-server --port 0 --unixsocket {folder}/r$$ --save '' & p=$!; sleep 1; "
        f"redis-benchmark -s {folder}/r$$ -q -n 200000 -t set,get >/dev/null; "
        f"sleep {seconds}; kill $p; wait $p"
    )
    nginx_folder = folder / "nginx"
    nginx_folder.mkdir()
    nginx_conf = nginx_folder / "n.conf"
    nginx_conf.write_text(
        f"pid {nginx_folder}/pid; error_log {nginx_folder}/e; worker_processes 2; daemon off;"
        f"events {{}} http {{ access_log off; server {{ listen unix:{nginx_folder}/s; }} }}"
    )
    nginx = f"timeout -s QUIT {seconds} nginx -c {nginx_conf} -p {nginx_folder}"
    java = folder / "Idle.java"
    java.write_text(
        "public class Idle { public static void main(String[] a) throws Exception "
        f"{{ Thread.sleep({seconds * 1000}); }} }}"
    )
    pool = []
    for method in ("fork", "forkserver"):
        script = folder / f"pool_{method}.py"  # a file: workers must be able to import it
        script.write_text(POOL.format(method=method, seconds=seconds))
        pool.append(Program(f"pool-{method}", "python3", (python, str(script))))
    return [
        Program("gcc", "gcc", loop(f"gcc -O2 -c -o {folder}/$$.o {folder}/big.c")),
        Program("sort", "sort", loop("seq 300000 | sort -R | tail -1 >/dev/null")),
        Program("tar", "tar", loop("tar cf - /usr/include | gzip -1 >/dev/null")),
        Program("sleep", "sleep", ("sleep", str(seconds))),
        Program("idle-cat", "cat", ("sh", "-c", f"sleep {seconds} | cat")),
        Program("threads", "python3", (python, "-c", THREADS.format(seconds=seconds))),
        Program(
            "http-idle", "timeout", ("timeout", str(seconds), python, "-m", "http.server", "0")
        ),
        Program("git", "git", loop("git log -p >/dev/null")),
        Program("redis", "redis-benchmark", ("sh", "-c", redis)),
        Program("nginx", "nginx", ("sh", "-c", nginx)),
        Program("node", "node", ("node", "-e", f"setTimeout(() => {{}}, {seconds * 1000})")),
        Program("java", "java", ("java", str(java))),
        Program("pytest", "python3", loop(f"{python} -m pytest -q tests/unit -p no:cacheprovider")),
        *pool,
    ]


def run(program: Program, number: int, folder: Path) -> list[str]:
    """One run; descriptions of the hangs that were reported."""
    report = folder / f"{number}.json"
    data_dir = folder / f"data{number}"
    subprocess.run(
        [sys.executable, "-m", "perimortem", "run", "-q", "--report", report, "--", *program.argv],
        env={**os.environ, "PERIMORTEM_DATA_DIR": str(data_dir),
             "PERIMORTEM_RUN_DIR": str(folder / f"run{number}")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    document = json.loads(report.read_text())
    listed = subprocess.run(
        [sys.executable, "-m", "perimortem", "list", "--all", "--json"],
        env={**os.environ, "PERIMORTEM_DATA_DIR": str(data_dir)}, capture_output=True, check=True,
    )  # fmt: skip
    incidents = [i for i in json.loads(listed.stdout) if i["verdict"] in ("hang", "silent-crash")]
    found = [f"{program.name}: {h['stopped']} {h['state']}" for h in document["hangs"]]
    return found + [f"{program.name}: {i['name']}[{i['pid']}] {i['verdict']}" for i in incidents]


def main() -> int:
    runs, seconds = (int(text) for text in (*sys.argv[1:], *("100", "15")[len(sys.argv) - 1 :]))
    burners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(4 * (os.cpu_count() or 1))
    ]
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            programs = list_programs(seconds, folder)
            missing = [p.name for p in programs if not shutil.which(p.needs)]
            there = itertools.cycle([p for p in programs if shutil.which(p.needs)])
            with ThreadPoolExecutor(AT_ONCE) as pool:
                jobs = [pool.submit(run, next(there), i, folder) for i in range(runs)]
                hangs = [text for job in jobs for text in job.result()]
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    for text in hangs:
        print(text)
    print(f"{runs} runs of {seconds} s each, {len(hangs)} hangs reported"
          + (f"; not installed: {', '.join(missing)}" if missing else ""))  # fmt: skip
    return int(bool(hangs))


if __name__ == "__main__":
    sys.exit(main())
