"""Write the JSON schemas in docs/ from the types in perimortem.documents; with --check, compare them.

python tools/generate_schemas.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from perimortem.documents.dump_listing import DumpListing
from perimortem.documents.examination import Examination
from perimortem.documents.report import Report
from perimortem.documents.symbols import FoundFiles, SymbolCheck
from perimortem.documents.tree_stacks import TreeStacks
from perimortem.documents.waits import Waits

DOCS = Path(__file__).resolve().parent.parent / "docs"
TYPES = {
    "dump.schema.json": (DumpListing, "`perimortem inspect --json`"),
    "report.schema.json": (Report, "The report of `perimortem run --report`, `show --json`"),
    "symbol-check.schema.json": (SymbolCheck, "`perimortem symbols check --json`"),
    "found-files.schema.json": (FoundFiles, "`perimortem symbols find --json`"),
    "tree-stacks.schema.json": (TreeStacks, "`perimortem stack --tree --json`"),
    "waits.schema.json": (Waits, "`perimortem waits --json`"),
    "examination.schema.json": (Examination, "`perimortem analyze --json`, `stack --json`"),
}


def make_schema(document: type, title: str) -> str:
    """JSON Schema 2020-12, as text."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **msgspec.json.schema(document),
    }
    for part in schema["$defs"].values():
        if "properties" in part:
            part["additionalProperties"] = False  # of what this version writes
    return json.dumps(schema, indent=2) + "\n"


def main() -> int:
    stale = []
    for name, (document, title) in TYPES.items():
        path, text = DOCS / name, make_schema(document, title)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        print(f"out of date with the types: {', '.join(stale)} (python tools/generate_schemas.py)")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
