"""docs/dump.schema.json is what `inspect --json` prints, for dumps of ours and of others."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from conftest import ROOT, each_shared_dump, needs_dumps
from synthetic_dumps import SYNTHETIC
from test_hostile_dumps import EVERYTHING, HOSTILE, RICH
from test_minidump import open_dump, write

from perimortem.documents.dump_listing import DumpListing
from perimortem.errors import MalformedInput
from perimortem.report.minidump.document import describe_dump

jsonschema = pytest.importorskip("jsonschema")
SCHEMA = json.loads((ROOT / "docs" / "dump.schema.json").read_text())


def check(data):
    listing = describe_dump(open_dump(data))
    document = json.loads(json.dumps(msgspec.to_builtins(listing), allow_nan=False))
    jsonschema.validate(document, SCHEMA)
    assert msgspec.convert(document, DumpListing) == listing


def test_our_own_dump():
    check(write(RICH, EVERYTHING))


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_what_fuzzing_has_found(path: Path):
    try:
        check(path.read_bytes())
    except MalformedInput:
        return


@pytest.mark.parametrize("name", SYNTHETIC)
def test_made_up_dumps_of_other_writers(name):
    check(SYNTHETIC[name].data)


@needs_dumps
@each_shared_dump
def test_dumps_of_other_writers_on_disk(path: Path):
    check(path.read_bytes())
