"""WER LocalDumps in the real registry: written, shown, taken away, and nothing else touched."""

from __future__ import annotations

import json
import winreg
from collections.abc import Iterator

import pytest

from perimortem.collector.windows import install as local_dumps

PROGRAM = "perimortem-test-program.exe"
PATH = f"{local_dumps.ROOT}\\{PROGRAM}"
ACCESS = winreg.KEY_ALL_ACCESS | winreg.KEY_WOW64_64KEY


@pytest.fixture(autouse=True)
def key() -> Iterator[None]:
    yield
    try:
        winreg.DeleteKeyEx(winreg.HKEY_LOCAL_MACHINE, PATH, winreg.KEY_WOW64_64KEY)
    except FileNotFoundError:
        return


def read_values() -> dict[str, object]:
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, PATH, 0, ACCESS) as opened:
        count = winreg.QueryInfoKey(opened)[1]
        return {
            name: value for name, value, _ in (winreg.EnumValue(opened, i) for i in range(count))
        }


def test_install_status_uninstall(perimortem, tmp_path):
    folder = tmp_path / "dümps"
    arguments = ("system", "install", PROGRAM, "--folder", folder, "--count", 3, "--type", "0x1105")
    assert "writes a dump" in perimortem.call(*arguments).stdout
    values = read_values()
    assert values["DumpFolder"] == str(folder)
    assert (values["DumpCount"], values["DumpType"], values["CustomDumpFlags"]) == (3, 0, 0x1105)
    assert folder.is_dir()
    assert "nothing to do" in perimortem.call(*arguments).stdout
    status = json.loads(perimortem.call("system", "status", "--json").stdout)
    (rule,) = [rule for rule in status if rule["program"] == PROGRAM]
    assert rule == {
        "program": PROGRAM, "folder": str(folder), "count": 3, "kind": "0x1105", "is_ours": True,
        "crashes": None,
    }  # fmt: skip
    assert "restored" in perimortem.call("system", "uninstall", PROGRAM).stdout
    with pytest.raises(FileNotFoundError):
        read_values()
    assert "nothing of ours" in perimortem.call("system", "uninstall", PROGRAM).stdout


def test_what_others_wrote_comes_back(perimortem, tmp_path):
    with winreg.CreateKeyEx(winreg.HKEY_LOCAL_MACHINE, PATH, 0, ACCESS) as opened:
        winreg.SetValueEx(opened, "DumpCount", 0, winreg.REG_DWORD, 77)
        winreg.SetValueEx(opened, "Theirs", 0, winreg.REG_SZ, "kept")
    before = read_values()
    perimortem.call("system", "install", PROGRAM, "--folder", tmp_path)
    perimortem.call("system", "install", PROGRAM, "--folder", tmp_path, "--count", 4)
    assert read_values()["DumpCount"] == 4
    perimortem.call("system", "uninstall", PROGRAM)
    assert read_values() == before


def test_what_was_changed_since_is_left_alone(perimortem, tmp_path):
    perimortem.call("system", "install", PROGRAM, "--folder", tmp_path)
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, PATH, 0, ACCESS) as opened:
        winreg.SetValueEx(opened, "DumpCount", 0, winreg.REG_DWORD, 99)
    perimortem.call("system", "uninstall", PROGRAM)
    assert read_values() == {"DumpCount": 99}


@pytest.mark.parametrize("name", ["C:\\app\\server.exe", "..", "a*b.exe", ""])
def test_a_path_is_no_name(name, perimortem):
    result = perimortem.call("system", "install", "--", name)
    assert result.returncode == 2, result.stdout
    assert "is not the name of a program" in result.stderr


def test_without_rights_it_is_refused(monkeypatch, tmp_path):
    from perimortem.collector.rule import Rule
    from perimortem.errors import AccessDenied

    monkeypatch.setattr(local_dumps, "is_elevated", lambda: False)
    with pytest.raises(AccessDenied, match="only administrators"):
        local_dumps.install(Rule(PROGRAM, tmp_path))
    with pytest.raises(AccessDenied, match="run perimortem as administrator"):
        local_dumps.uninstall(PROGRAM)
