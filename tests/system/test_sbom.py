"""The bill of materials lists what the built artefacts hold, and no more."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT, without_pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

pytestmark = pytest.mark.system

TOOL = ROOT / "tools" / "write_sbom.py"


def call(*argv, **options):
    return subprocess.run(
        [sys.executable, *map(str, argv)], cwd=ROOT, env=without_pytest(os.environ),
        capture_output=True, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built = call("-m", "build", "--no-isolation", "--outdir", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def document(dist):
    written = call(TOOL, dist)
    assert written.returncode == 0, written.stderr
    (path,) = dist.glob("*.cdx.json")
    assert written.stdout.strip() == str(path)
    return json.loads(path.read_text())


def digest(content):
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]


def find(document, name):
    (found,) = [one for one in document["components"] if one["name"] == name]
    return found


def test_it_is_valid_by_the_schema_of_the_format(document):
    validator = JsonStrictValidator(SchemaVersion.V1_7)
    assert validator.validate_str(json.dumps(document)) is None
    damaged = {**document, "components": [{"type": "wheel", "name": "x"}]}
    assert validator.validate_str(json.dumps(damaged)) is not None


def test_every_file_of_the_wheel_with_its_hash(dist, document):
    (path,) = dist.glob("*.whl")
    artefact = find(document, path.name)
    assert artefact["hashes"] == digest(path.read_bytes())
    with zipfile.ZipFile(path) as wheel:
        expected = {name: digest(wheel.read(name)) for name in wheel.namelist()}
    assert {one["name"]: one["hashes"] for one in artefact["components"]} == expected
    assert "perimortem/cli/main.py" in expected


def test_every_file_of_the_sdist_with_its_hash(dist, document):
    (path,) = dist.glob("*.tar.gz")
    artefact = find(document, path.name)
    assert artefact["hashes"] == digest(path.read_bytes())
    with tarfile.open(path) as sdist:
        files = [member for member in sdist if member.isfile()]
        expected = {member.name: digest(sdist.extractfile(member).read()) for member in files}
    assert {name.split("/")[1] for name in expected}.isdisjoint({".venv", "build", "dist", ".git"})
    assert {one["name"]: one["hashes"] for one in artefact["components"]} == expected


def test_compiled_parts_and_what_they_are_linked_with(dist, document):
    (path,) = dist.glob("*.whl")
    compiled = {
        one["name"].rpartition("/")[2]: (one["type"], {p["value"] for p in one["properties"]})
        for one in find(document, path.name)["components"]
        if one["type"] != "file"
    }
    assert set(compiled) == {
        "core-helper", "libperimortem.so.0", "libperimortem_capture.so", "libperimortem_preload.so",
    }  # fmt: skip
    assert compiled["core-helper"] == ("application", {"libc.so.6"})
    kind, linked = compiled["libperimortem_preload.so"]
    assert kind == "library"
    assert "libperimortem.so.0" in linked
    # The C library and our own: no code of others comes with the wheel.
    system = {"libc.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"}
    assert set().union(*(linked for _, linked in compiled.values())) <= system | set(compiled)


def test_what_is_needed_at_run_time(document):
    needed = {one["name"]: one for one in document["components"] if one.get("isExternal")}
    required = {name for name, one in needed.items() if one["scope"] == "required"}
    assert required == {
        "capstone", "click", "msgspec", "platformdirs", "psutil", "pyelftools", "pystack", "rich",
        "rust-demangler",
    }  # fmt: skip
    assert set(needed) - required == {"drgn", "symbolic", "zstandard"}
    assert needed["click"]["versionRange"] == "vers:pypi/>=8.1"
    assert needed["click"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert needed["psutil"]["properties"] == [
        {"name": "perimortem:marker", "value": 'sys_platform == "win32"'}
    ]
    (graph,) = document["dependencies"]
    assert set(graph["dependsOn"]) == {one["bom-ref"] for one in needed.values()}


def test_the_same_artefacts_give_the_same_document(dist, document):
    (path,) = dist.glob("*.cdx.json")
    before = path.read_bytes()
    assert call(TOOL, dist).returncode == 0
    assert path.read_bytes() == before


def test_without_artefacts_there_is_none(tmp_path):
    written = call(TOOL, tmp_path)
    assert (written.returncode, written.stdout) == (1, "")
    assert "make dist" in written.stderr
    assert not list(tmp_path.iterdir())
