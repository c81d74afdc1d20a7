"""Write docs/reference/api.md from the public names of `import perimortem`; with --check, compare it.

python tools/generate_api_reference.py [--check]

Docstrings of fields stand behind them in the source, where only a parser sees them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import perimortem

PATH = Path(__file__).resolve().parent.parent / "docs" / "reference" / "api.md"
WIDTH = 96
HEAD = """\
# Python library

Made from the docstrings of `import perimortem` by `tools/generate_api_reference.py`. Types inside
reports and examinations are described by [report.schema.json](../report.schema.json) and
[examination.schema.json](../examination.schema.json); programs that use the library are in
[examples/library](../../examples/library/README.md).
"""
SECTIONS = {
    "Watch": ("run", "run_async", "RunResult", "watch"),
    "Dump": ("dump", "open_dump", "Dump"),
    "Examine and explain": ("stacks", "analyze", "tree_stacks", "waits", "explain"),
    "Look up": (
        "incident",
        "incidents",
    ),
    "In your own program": ("attach", "AgentSession", "spawn_and_attach", "Guard"),
    "Documents": ("Report", "Examination", "TreeStacks", "Waits"),
    "Errors": ("PerimortemError",),
    "Version": ("__version__",),
}


def _parse(item: Any) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(item))).body[0]
    assert isinstance(tree, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return tree


def _render_docstring(text: str | None) -> list[str]:
    lines, is_code = [], False
    for line in inspect.cleandoc(text or "").splitlines():
        is_code = line.startswith(">>>") or (is_code and bool(line.strip()))
        if is_code:
            lines.append(f"    {line}")
        else:
            lines.append(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line).replace("``", "`"))
    return [*lines, ""] if lines else []


def _render_signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> list[str]:
    """On one line, or an argument on each."""
    arguments = node.args
    first = arguments.posonlyargs + arguments.args
    if first and first[0].arg in ("self", "cls"):
        first[0].arg = ""
    text = ast.unparse(arguments)
    text = text.removeprefix(", ")
    before = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    after = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    whole = f"{before}{name}({text}){after}"
    if len(whole) <= WIDTH:
        return [f"    {whole}", ""]
    rows = [f"        {part}," for part in _split(text)]
    return [f"    {before}{name}(", *rows, f"    ){after}", ""]


def _split(text: str) -> list[str]:
    """At commas that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _render_function(item: Any, name: str) -> list[str]:
    node = _parse(item)
    assert not isinstance(node, ast.ClassDef)
    return [
        f"### {name}",
        "",
        *_render_signature(node, f"perimortem.{name}"),
        *_render_docstring(ast.get_docstring(node)),
    ]


def _render_class(item: Any, name: str) -> list[str]:
    node = _parse(item)
    assert isinstance(node, ast.ClassDef)
    lines = [f"### {name}", "", *_render_docstring(ast.get_docstring(node))]
    fields, methods = _read_fields(node), []
    for member in node.body:
        if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if member.name.startswith("_"):
            continue
        said = ast.get_docstring(member)
        if any(ast.unparse(mark) == "property" for mark in member.decorator_list):
            kind = ast.unparse(member.returns) if member.returns is not None else "Any"
            fields.append((member.name, kind, said or ""))
        else:
            methods += [*_render_signature(member, member.name), *_render_docstring(said)]
    if fields:
        lines += ["| field | type | |", "|---|---|---|"]
        lines += [f"| `{n}` | `{_cell(kind)}` | {_cell(said)} |" for n, kind, said in fields]
        lines.append("")
    return lines + methods


def _read_fields(node: ast.ClassDef) -> list[tuple[str, str, str]]:
    found = []
    for at, member in enumerate(node.body):
        if not isinstance(member, ast.AnnAssign) or not isinstance(member.target, ast.Name):
            continue
        follower = node.body[at + 1] if at + 1 < len(node.body) else None
        said = ""
        if isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant):
            said = str(follower.value.value)
        if not member.target.id.startswith("_"):
            found.append((member.target.id, ast.unparse(member.annotation), said))
    return found


def _cell(text: str) -> str:
    return " ".join("\n".join(_render_docstring(text)).split()).replace("|", "\\|")


def make_reference() -> str:
    """The whole page; every public name stands in one section."""
    named = [name for names in SECTIONS.values() for name in names]
    assert sorted(named) == sorted(perimortem.__all__), "SECTIONS is not perimortem.__all__"
    lines = [HEAD]
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            item = getattr(perimortem, name)
            if isinstance(item, str):
                lines += [f"### {name}", "", "The version of this package, a string.", ""]
            elif inspect.isclass(item):
                lines += _render_class(item, name)
            else:
                lines += _render_function(item, name)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    text = make_reference()
    if "--check" not in sys.argv:
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(text, encoding="utf-8")
    elif not PATH.exists() or PATH.read_text(encoding="utf-8") != text:
        print(
            f"{PATH.name} is not what the docstrings say (python tools/generate_api_reference.py)"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
