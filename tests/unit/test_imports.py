"""What each command imports: start-up is paid by every watched program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import perimortem

HEAVY = {
    "asyncio", "ctypes", "dataclasses", "difflib", "email", "hashlib", "http", "json", "logging",
    "msgspec", "multiprocessing", "platformdirs", "psutil", "pystack", "drgn", "symbolic", "capstone",
    "rich", "sqlite3", "ssl", "socket", "subprocess", "tempfile", "threading", "tomllib", "unittest",
    "urllib", "xml", "zstandard",
}  # fmt: skip
"""Libraries, and what of the standard library takes a millisecond or more."""
_SETTINGS = {"dataclasses", "platformdirs", "tempfile", "tomllib", "urllib"}
"""``urllib`` is imported by pathlib, ``tempfile`` by platformdirs."""
ALLOWED = {
    ("--help",): set(),
    ("explain", "137"): {"dataclasses", "urllib"},
    ("config",): _SETTINGS,
    ("list",): _SETTINGS | {"sqlite3"},
    ("run", "-q", "--no-stacks", "--", "true"): _SETTINGS
    | {"ctypes", "difflib", "hashlib", "logging", "msgspec", "socket", "sqlite3", "subprocess"},
}
"""What each may load besides what `import click` does."""
CODE = """
import atexit, json, sys
path = sys.argv.pop(1)
atexit.register(lambda: open(path, "w").write(json.dumps(sorted(sys.modules))))
from perimortem.cli.main import main
main()
"""


BASE = """
import json, sys, click
open(sys.argv[1], "w").write(json.dumps(sorted(sys.modules)))
"""


def list_modules(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("PERIMORTEM_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PERIMORTEM_DATA_DIR", str(tmp_path / "data"))
    path = tmp_path / "modules.json"
    code = (
        CODE
        if arguments
        else "import json, sys, click; open(sys.argv[1], 'w').write(json.dumps(sorted(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(path), *arguments], capture_output=True)
    return set(json.loads(path.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own modules")
@pytest.mark.parametrize("arguments", ALLOWED, ids=" ".join)
def test_a_command_loads_no_heavy_module_that_it_does_not_need(arguments, tmp_path, monkeypatch):
    base = list_modules((), tmp_path, monkeypatch)
    loaded = list_modules(arguments, tmp_path, monkeypatch)
    heavy = {name for name in HEAVY if name in loaded and name not in base}
    assert heavy - ALLOWED[arguments] == set()


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own modules")
def test_the_commands_load_few_of_our_own_modules(tmp_path, monkeypatch):
    """Growth is a decision: raise the number only with a reason."""
    limits = {
        ("--help",): 5,
        ("explain", "137"): 26,
        ("list",): 30,
        ("run", "-q", "--no-stacks", "--", "true"): 273,  # two of them redact, after its end
    }
    for arguments, limit in limits.items():
        loaded = list_modules(arguments, tmp_path, monkeypatch)
        own = sorted(name for name in loaded if name.startswith("perimortem"))
        assert len(own) <= limit, (len(own), own)


@pytest.mark.skipif(sys.platform != "linux", reason="each system has its own modules")
def test_a_dump_worker_loads_what_a_dump_needs_and_nothing_of_the_monitor():
    """It starts while a process crashes, without site-packages."""
    package = Path(perimortem.__file__).parent.parent
    code = (
        f"import json, sys; sys.path.insert(0, {str(package)!r}); import perimortem.dumping.worker; "
        "print(json.dumps([name for name in sys.modules if name.startswith('perimortem')]))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True
    )
    own = json.loads(result.stdout)
    assert len(own) <= 106, (len(own), own)
    assert not {name for name in own if name.split(".")[1:2] in (["proc"], ["monitor"], ["report"])}
