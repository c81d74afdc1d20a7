"""Whether the agent can be preloaded into a program. Read from its ELF file, before it starts.

A preload can stop a program from starting (a sanitizer's runtime, another libc), and a program with
privileges ignores it; such a program is watched by its exit instead.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.agent.library import find_preload_library
from perimortem.binary.elf import read_elf, read_elf_class, read_interpreter, read_needed
from perimortem.monitor.preload import Preload

_SCRIPT_DEPTH = 4
_WRAPPERS = frozenset(
    {"env", "nice", "nohup", "ionice", "chrt", "taskset", "setsid", "stdbuf", "setpriv", "numactl"}
)
"""They exec the program that their arguments name, in the same process."""
_SANITIZERS = ("libasan.", "libhwasan.", "libclang_rt.asan", "libclang_rt.hwasan")


def choose_preload(program: Path, arguments: tuple[str, ...] = ()) -> Preload:
    """Decide for the program that will really be loaded: through #!, and through env, nice and such.

    ``arguments``: those after the program's name.
    """
    library = find_preload_library()
    if library is None:
        return Preload(None, "the agent library is not installed")
    if any(character in str(library) for character in ": "):
        return Preload(None, f"the loader cannot take a path with blanks or colons: {library}")
    image = _follow_scripts(program)
    if image is None:
        return Preload(None, "its interpreter cannot be read")
    reason = _refusal(image)
    wrapped = _find_wrapped(arguments) if program.name in _WRAPPERS else None
    if not reason and wrapped is not None:
        reason = _refusal(_follow_scripts(wrapped) or wrapped)
    return Preload(None, reason) if reason else Preload(library)


def _find_wrapped(arguments: tuple[str, ...]) -> Path | None:
    """The first argument that names a program; skips options, their values and NAME=VALUE."""
    for argument in arguments:
        if argument.startswith("-") or "=" in argument:
            continue
        found = shutil.which(argument)
        if found and Path(found).name not in _WRAPPERS:
            return Path(found)
    return None


def preload_environment(
    library: Path, run_dir: Path, monitor_pid: int, environment: dict[str, str], *, follow: bool
) -> dict[str, str]:
    """The environment of the target: its original one, with the agent after its own preloads."""
    before = [part for part in environment.get("LD_PRELOAD", "").split(":") if part]
    if str(library) not in before:  # it is if we run under another monitor
        before.append(str(library))
    return {
        **environment,
        "LD_PRELOAD": ":".join(before),
        "PERIMORTEM_RUN_DIR": str(run_dir),
        "PERIMORTEM_MONITOR_PID": str(monitor_pid),
        "PERIMORTEM_AGENT_FOLLOW": "1" if follow else "0",
        "PERIMORTEM_PID_NAMESPACE": _own_pid_namespace(),
    }


def _own_pid_namespace() -> str:
    """In another namespace a pid means another process: the agent stays silent there."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _follow_scripts(program: Path) -> Path | None:
    for _ in range(_SCRIPT_DEPTH):
        try:
            with open(program, "rb") as file:
                head = file.read(256)
        except OSError:
            return None
        if not head.startswith(b"#!"):
            return program
        words = head[2:].split(b"\n", 1)[0].split()
        if not words:
            return None
        program = Path(os.fsdecode(words[0]))
    return None


def _refusal(image: Path) -> str:
    """Why the agent cannot be preloaded, or an empty string."""
    try:
        with open(image, "rb") as file:
            fd = file.fileno()

            def read(offset: int, size: int) -> bytes:
                return os.pread(fd, size, offset)

            facts = os.fstat(fd)
            elf = read_elf(read)
            if elf is None:
                is_32_bit = read_elf_class(read(0, 5)) == 1
                return "it is a 32-bit program" if is_32_bit else "it is not an ELF program"
            interpreter = read_interpreter(elf, read)
            needed = read_needed(elf, read)
            own = _own_interpreter()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if interpreter is None:
        return "it is statically linked"
    if own is not None and Path(interpreter).name != own:
        return f"it uses another C library (loader {interpreter})"
    sanitizer = next((name for name in needed if name.startswith(_SANITIZERS)), None)
    if sanitizer:
        return f"{sanitizer} must be loaded first"
    if facts.st_mode & (stat.S_ISUID | stat.S_ISGID) and os.geteuid() != facts.st_uid:
        return "it is setuid or setgid: the loader ignores preloads"
    if "security.capability" in _attributes(image):
        return "it has file capabilities: the loader ignores preloads"
    return ""


def _own_interpreter() -> str | None:
    """The loader of our own Python, for which the agent was built."""
    with open(sys.executable, "rb") as file:
        fd = file.fileno()

        def read(offset: int, size: int) -> bytes:
            return os.pread(fd, size, offset)

        elf = read_elf(read)
        interpreter = read_interpreter(elf, read) if elf else None
    return Path(interpreter).name if interpreter else None


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []
