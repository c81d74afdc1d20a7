"""Nothing that a process, a dump or a report says is run as code.

CVE-2016-9949 (apport evaluated a field of a report) and CVE-2025-12744 (abrt put the id of a container
into a command for a shell) are of this kind.
"""

from __future__ import annotations

import ast

import pytest
from conftest import ROOT

PACKAGE = ROOT / "src" / "perimortem"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "__import__"}
MODULES = {"pickle", "marshal", "shelve", "yaml", "code", "runpy"}
"""What they read can run anything."""
OWN = {("system/windows/serve.py", "pickle"), ("system/windows/service.py", "pickle")}
"""Settings that we give to a child of ours over an anonymous pipe: no data of others."""


def find_code_from_data(source):
    """The calls and imports, as (line, what)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            is_shell = any(
                word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords
            )
            if name in CALLS or is_shell:
                yield node.lineno, name
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.partition(".")[0] in MODULES:
                yield node.lineno, name


def test_no_module_runs_text_as_code():
    assert SOURCES
    found = {
        (path.relative_to(PACKAGE).as_posix(), what)
        for path in SOURCES
        for _, what in find_code_from_data(path.read_text(encoding="utf-8"))
    }
    assert found == OWN


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "import pickle",
        "from yaml import load",
    ],
)
def test_it_would_be_found(source):
    assert list(find_code_from_data(source))
