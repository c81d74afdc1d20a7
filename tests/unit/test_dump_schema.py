"""docs/dump.schema.json is what `inspect --json` prints, for dumps of ours and of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, SHARED_DUMPS
from test_hostile_dumps import EVERYTHING, HOSTILE, RICH
from test_minidump import open_dump, write

from perimortem.errors import MalformedInput
from perimortem.report.minidump.document import describe_dump

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads((ROOT / "docs" / "dump.schema.json").read_text())


def check(data):
    document = json.loads(json.dumps(describe_dump(open_dump(data)), allow_nan=False))
    jsonschema.validate(document, SCHEMA)


def test_our_own_dump():
    check(write(RICH, EVERYTHING))


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_what_fuzzing_has_found(path: Path):
    try:
        check(path.read_bytes())
    except MalformedInput:
        return


@pytest.mark.skipif(not SHARED_DUMPS.is_dir(), reason="Breakpad's dumps are not beside the project")
def test_other_peoples_dumps():
    for path in SHARED_DUMPS.glob("*.dmp"):
        check(path.read_bytes())
