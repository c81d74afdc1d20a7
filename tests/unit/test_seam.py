"""The platform seam reads the same from both sides: the modules of ``linux/`` and ``windows/`` that bear
one name have the same public functions and classes, with the same arguments; and few files choose
between the two."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import perimortem

PACKAGE = Path(perimortem.__file__).parent
SIDES = [path for path in PACKAGE.rglob("windows") if (path.parent / "linux").is_dir()]
PAIRS = {
    (side.parent / path.name).relative_to(PACKAGE).as_posix(): (side.parent / "linux", side)
    for side in SIDES
    for path in sorted(side.glob("*.py"))
    if (side.parent / "linux" / path.name).exists() and path.name != "__init__.py"
}
"""The folders of both sides, by ``PACKAGE/MODULE.py`` without the side."""
CHOOSERS = {
    "collector/__init__.py",
    "dumping/__init__.py",
    "examine/__init__.py",
    "examine/runtimes/__init__.py",
    "dumping/write.py",
    "exits/sources.py",
    "monitor/platform/__init__.py",
    "monitor/platform/doctor.py",
    "proc/__init__.py",
    "reading/__init__.py",
    "waiting/__init__.py",
    "recorder/__init__.py",
    "sandbox/__init__.py",
    "system/__init__.py",
    "wire/__init__.py",
}

_OWN_FACTORY = "made by open_listener and open_own_listener of the same module alone"
_LINUX_COMMAND = "called by linux/command.py alone: Windows refuses these sources of heartbeats"
_COUNTERS = "what the system counts; readers only compare two of them as a whole"
_PROC_STAT = "a field of /proc/PID/stat, read by modules of linux/ alone"
DIFFERENCES = {
    "exits/gone.py": {
        "GoneExitWatch.__init__": "tests on Windows hand in an ETW source; callers give the process"
    },
    "monitor/platform/heartbeats.py": dict.fromkeys(
        (f"Heartbeats.{name}" for name in ("extend", "finish", "resize", "take_notifications")),
        _LINUX_COMMAND,
    ),
    "proc/activity.py": dict.fromkeys(
        (
            f"Activity.{name}"
            for name in (
                "context_switches", "cpu_100ns", "io_operations", "records",
            )
        ),
        _COUNTERS,
    ),
    "proc/stat.py": {
        f"ProcessStat.{name}": _PROC_STAT
        for name in (
            "cpu_ticks", "environment", "exit_code", "exit_signal", "flags", "has_ended",
            "is_kernel_thread", "kernel_ticks", "priority", "resident_pages", "state", "thread_count",
            "user_ticks",
        )
    },
    "wire/listener.py": {
        "LocalConnection.__init__": _OWN_FACTORY,
        "LocalListener.__init__": _OWN_FACTORY,
    },
}  # fmt: skip
"""What differs on purpose, with the reason: by module, then by name. An entry that no longer differs
fails its test."""


def read_public(path: Path) -> dict[str, str]:
    """What the public names of a module are: ``constant``, ``class``, ``attribute`` or arguments.

    Public methods, fields and properties of a class stand there as ``Class.name``. Names in ``__all__``
    that are imported count as if they were written there.
    """
    body = ast.parse(path.read_text(encoding="utf-8")).body
    found = read_passed_on(body)
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = describe_arguments(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = f"class({', '.join(map(ast.unparse, node.bases))})"
            if not node.name.startswith("_"):
                found |= read_members(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= dict.fromkeys(read_targets(node), "constant")
    return {name: what for name, what in found.items() if not name.startswith("_")}


def read_passed_on(body: list[ast.stmt]) -> dict[str, str]:
    """What a module imports and names in ``__all__``."""
    found: dict[str, str] = {}
    lists = [n for n in body if isinstance(n, ast.Assign) and "__all__" in read_targets(n)]
    passed_on = {name for node in lists for name in ast.literal_eval(node.value)}
    for node in body:
        if isinstance(node, ast.ImportFrom) and passed_on & {alias.name for alias in node.names}:
            source = read_public(PACKAGE.parent / f"{node.module.replace('.', '/')}.py")
            found |= {
                name: what for name, what in source.items() if name.partition(".")[0] in passed_on
            }
    return found


def read_members(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in node.body:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(decorator) for decorator in member.decorator_list}
            is_property = decorators & {"property", "cached_property"}
            what = "attribute" if is_property else describe_arguments(member)
            if not member.name.startswith("_") or member.name.startswith("__"):
                found[member.name] = what
        elif isinstance(member, ast.Assign | ast.AnnAssign):
            names = (name for name in read_targets(member) if not name.startswith("_"))
            found |= dict.fromkeys(names, "attribute")
    return {f"{node.name}.{name}": what for name, what in found.items()}


def read_targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def describe_arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Names, order and which may be left out; neither types nor the values of defaults."""
    arguments = node.args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    left_out = ast.Constant(...)
    arguments.defaults = [left_out for _ in arguments.defaults]
    arguments.kw_defaults = [default and left_out for default in arguments.kw_defaults]
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    kind = next((d for d in decorators if d in ("classmethod", "staticmethod")), "function")
    return f"{kind}({ast.unparse(arguments)})"


def read_imported(chooser: Path, side: str) -> dict[str, set[str]]:
    """Names that a chooser takes from one side, by module."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(chooser.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and f".{side}." in node.module:
            found.setdefault(node.module.rsplit(".", 1)[1], set()).update(
                a.name for a in node.names
            )
    return found


def test_there_are_pairs():
    assert len(PAIRS) >= 20


@pytest.mark.parametrize("chooser", sorted(CHOOSERS))
def test_a_chooser_takes_the_same_from_both_sides(chooser):
    linux, windows = (read_imported(PACKAGE / chooser, side) for side in ("linux", "windows"))
    assert linux
    assert linux == windows


@pytest.mark.parametrize("chooser", sorted(CHOOSERS))
def test_what_a_chooser_takes_is_compared(chooser):
    """Functions and classes with their module below; a constant is one on both sides."""
    folder = (PACKAGE / chooser).parent
    for module, names in read_imported(PACKAGE / chooser, "linux").items():
        assert (folder / f"{module}.py").relative_to(PACKAGE).as_posix() in PAIRS
        linux = read_public(folder / "linux" / f"{module}.py")
        windows = read_public(folder / "windows" / f"{module}.py")
        for name in names:
            assert linux[name] == windows[name], f"{module}.{name}"


@pytest.mark.parametrize("module", PAIRS)
def test_modules_of_one_name_differ_in_nothing_but_what_is_listed(module):
    linux, windows = (read_public(side / Path(module).name) for side in PAIRS[module])
    differences = {
        name: f"linux: {linux.get(name)}, windows: {windows.get(name)}"
        for name in linux.keys() | windows.keys()
        if linux.get(name) != windows.get(name)
        and {linux.get(name), windows.get(name)} != {"constant", None}
    }
    assert differences.keys() == DIFFERENCES.get(module, {}).keys(), differences


def test_what_is_listed_as_different_is_a_module_of_both_sides():
    assert DIFFERENCES.keys() <= PAIRS.keys()


def test_no_other_module_names_a_platform():
    pattern = re.compile(r"from perimortem[\w.]*\.(linux|windows)[.\w]* import")
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        if {"linux", "windows", "winapi"} & set(relative.parts):
            continue
        if relative.as_posix() in CHOOSERS:
            continue
        assert not pattern.search(path.read_text(encoding="utf-8")), relative
