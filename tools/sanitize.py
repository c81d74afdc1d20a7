"""The agent and the core helper under the sanitizers of C: python tools/sanitize.py

Builds native/ with AddressSanitizer and UndefinedBehaviorSanitizer into build/sanitize. With that agent
programs of tests/programs, which are built without them, run under `perimortem run`; with that core
helper its tests run (as root; otherwise they are skipped). ThreadSanitizer cannot be preloaded: with it
the recorder is built into a program whose threads all use it at once. Fails when a sanitizer reports
something, and when a program does not end as it should.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "sanitize"
PROGRAMS = ROOT / "tests" / "programs"
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
FINDING = re.compile(r"ERROR: AddressSanitizer|runtime error:")
RACE = "WARNING: ThreadSanitizer: data race"
INTERPOSED = ("signal_hook.c", "thread_hook.c")
"""They replace functions that ThreadSanitizer replaces, too."""
CASES: dict[tuple[str, ...], int] = {
    ("beats",): 128 + signal.SIGTERM,
    ("exit_status", "3"): 3,
    ("exit_status", "4", "exit"): 4,
    ("exit_status", "5", "_exit"): 5,
    ("exit_status", "6", "_Exit"): 6,
    ("exit_status", "7", "quick_exit"): 7,
    ("crash_handlers",): 128 + signal.SIGSEGV,
    ("crash_handlers", "recover"): 0,
    ("crash_handlers", "ask"): 0,
    ("crash_handlers", "together"): 128 + signal.SIGSEGV,
    ("crash_handlers", "leave"): 40 + signal.SIGSEGV,
    ("crash_handlers", "raise"): 128 + signal.SIGSEGV,
    ("crash_handlers", "abort"): 128 + signal.SIGABRT,
    ("crash_handlers", "fault"): 128 + signal.SIGSEGV,
    ("crash_handlers", "child"): 0,
    ("crash_handlers", "vfork"): 0,
}
"""Each run, and the exit status that it must have."""


def build() -> None:
    """The libraries with the sanitizers, the programs without."""
    configure = ["cmake", "-S", str(ROOT / "native"), "-B", str(BUILD), "-DCMAKE_BUILD_TYPE=Debug"]
    subprocess.run([*configure, f"-DCMAKE_C_FLAGS={FLAGS}"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD], check=True, stdout=subprocess.DEVNULL)
    for name in sorted({name for name, *_ in CASES}):
        link = (
            [f"-L{BUILD}", "-l:libperimortem.so.0", f"-Wl,-rpath,{BUILD}"]
            if name == "beats"
            else []
        )
        # What the library needs of the sanitizers comes with their runtimes, which are preloaded.
        link += ["-Wl,--allow-shlib-undefined", "-lpthread"]
        source = str(PROGRAMS / f"{name}.c")
        include = f"-I{ROOT / 'native' / 'include'}"
        subprocess.run(
            ["cc", "-O1", "-g", include, "-o", str(BUILD / name), source, *link], check=True
        )


def make_environment() -> dict[str, str]:
    """Faults are the agent's to handle; a finding ends the program with status 99."""
    runtimes = [
        subprocess.check_output(["cc", f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    quiet = "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:handle_abort=0"
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": f"{quiet}:use_sigaltstack=0:detect_leaks=0:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99",
        "PERIMORTEM_LIBRARY_DIR": str(BUILD),
        "PERIMORTEM_DATA_DIR": str(BUILD / "data"),
        "PERIMORTEM_RUN_DIR": str(BUILD / "run"),
    }


def check(name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> str | None:
    """One run; what a sanitizer reported, or how else it failed. `beats` beats until it is ended."""
    command = [sys.executable, "-m", "perimortem", "run", "--silent", "--no-stacks", "--"]
    process = subprocess.Popen(
        [*command, str(BUILD / name), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    if name == "beats" and process.stdout.readline() == b"ready\n":
        time.sleep(1)  # some fifty beats
        process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1].decode(errors="replace")
    expected = CASES[name, *arguments]
    if process.returncode == expected and not FINDING.search(said):
        return None
    what = " ".join((name, *arguments))
    return f"{what}: exit status {process.returncode}, expected {expected}\n{said}"


def check_threads() -> list[str]:
    """ThreadSanitizer over the recorder; and over a race, which it must find."""
    native = ROOT / "native"
    flags = [
        "-std=gnu11",
        "-g",
        "-O1",
        "-Wno-tsan",
        "-DPERIMORTEM_BUILDING",
        f"-I{native / 'include'}",
    ]
    hook = BUILD / "signal_hook.o"
    source = native / "src" / "linux" / "signal_hook.c"
    subprocess.run(["cc", *flags, "-c", source, "-o", hook], check=True)
    sources = [*native.glob("src/*.c"), *native.glob("src/linux/*.c")]
    sources = [path for path in sources if path.name not in INTERPOSED]
    failures = []
    for more, is_racing in (([], False), (["-DRACE"], True)):
        program = BUILD / "beat_in_threads"
        subprocess.run(
            ["cc", *flags, *more, "-fsanitize=thread", "-o", program,
             PROGRAMS / "beat_in_threads.c", *sources, hook, "-lpthread"],
            check=True,
        )  # fmt: skip
        # Its shadow memory does not fit beside a program at a random address.
        done = subprocess.run(
            ["setarch", "-R", program],
            env={
                **os.environ,
                "PERIMORTEM_RUN_DIR": str(BUILD / "run"),
                "TSAN_OPTIONS": "exitcode=99",
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        if (RACE in done.stderr) != is_racing or done.returncode != (99 if is_racing else 0):
            failures.append(f"beat_in_threads {more}: exit status {done.returncode}\n{done.stderr}")
    return failures


def check_helper() -> list[str]:
    """Its tests expect status 0; a finding ends it with another one."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", ROOT / "tests" / "system" / "test_core_helper.py"],
        env={**os.environ, "PERIMORTEM_LIBRARY_DIR": str(BUILD)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    print("core helper:", done.stdout.strip().rpartition("\n")[2])
    return [] if done.returncode == 0 else [f"core helper:\n{done.stdout}{done.stderr}"]


def main() -> int:
    build()
    (BUILD / "run").mkdir(mode=0o700, exist_ok=True)
    environment = make_environment()
    failures = [
        failure
        for name, *arguments in CASES
        if (failure := check(name, tuple(arguments), environment)) is not None
    ]
    failures += check_threads()
    failures += check_helper()
    for failure in failures:
        print(failure)
    print(f"{len(CASES) + 3} runs, {len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
