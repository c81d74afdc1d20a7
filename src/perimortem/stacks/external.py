"""Which debugger can print the stacks of a live process, and how it is asked.

Each of them stops the process while it reads (tens to hundreds of milliseconds); the report names
the tool, and so does the option that leaves it out.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

NO_TOOL = (
    "stacks of a live process are not read on Windows yet: a debugger shows them from the dump"
    if sys.platform == "win32"
    else "no tool for stacks is installed (gdb, pystack or eu-stack)"
)


@dataclass(frozen=True)
class StackTool:
    """A command that prints all stacks of a process to its standard output."""

    name: str
    argv: tuple[str, ...]


def choose_stack_tool(pid: int, executable: str | None) -> StackTool | None:
    """pystack for a Python process (it shows Python and native frames), else gdb, else eu-stack."""
    if sys.platform == "win32":
        return None
    is_python = executable is not None and Path(executable).name.startswith("python")
    pystack = _find_pystack()
    if is_python and pystack:
        return StackTool("pystack", (pystack, "remote", "--native-all", str(pid)))
    gdb = shutil.which("gdb")
    if gdb:
        return StackTool(
            "gdb",
            (gdb, "-nx", "-batch", "-p", str(pid), "-ex", "thread apply all bt 64"),
        )
    eu_stack = shutil.which("eu-stack")
    if eu_stack:
        return StackTool("eu-stack", (eu_stack, "-p", str(pid)))
    return None


def _find_pystack() -> str | None:
    """On the path, or beside the interpreter that runs us (in a virtual environment)."""
    beside = Path(sys.executable).with_name("pystack")
    return str(beside) if beside.exists() else shutil.which("pystack")


def clean_stacks(tool: str, text: str) -> str:
    """The stacks without the tool's own chatter."""
    lines = text.splitlines()
    if tool == "gdb":
        first = next((i for i, line in enumerate(lines) if line.startswith("Thread ")), 0)
        lines = [line for line in lines[first:] if not line.startswith("[Inferior ")]
    blocks = "\n".join(lines).strip().split("\n\n")
    return "\n\n".join(block for block in blocks if not _is_agent(block)) + "\n"


def _is_agent(block: str) -> bool:
    """The agent's own thread explains nothing."""
    return '"perimortem"' in block.split("\n", 1)[0]
