"""The bill of materials of what is shipped: `python tools/write_sbom.py FOLDER`, or `make sbom`.

Writes FOLDER/perimortem-VERSION.cdx.json, a CycloneDX 1.7 document, for the wheels and the sdist in
FOLDER: every file with its SHA-256, the libraries that our compiled parts are linked with, and each
package that is needed at run time, with its bounds and licence. The same artefacts give the same
document.

What is needed is read from the wheel itself: a tool that lists an environment would name versions that
happen to be installed, and are not shipped. cyclonedx-python-lib, the format's own library, has no
version ranges (11.12): the document is written here, and the library's copy of the schema checks it.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.schema import SchemaVersion
from cyclonedx.spdx import fixup_id
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAME = "perimortem"
ELF_MAGIC = b"\x7fELF"
ET_EXEC, ET_DYN = 2, 3
EXTRA = re.compile(r"""extra == ["'](?P<name>[\w-]+)["']""")
CLASSIFIER = "License :: OSI Approved :: "


def read_files(artefact: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file in a wheel or an sdist."""
    if artefact.suffix == ".whl":
        with zipfile.ZipFile(artefact) as wheel:
            for member in wheel.infolist():
                if not member.is_dir():
                    yield member.filename, wheel.read(member)
        return
    with tarfile.open(artefact) as sdist:
        for entry in sdist:
            file = sdist.extractfile(entry)
            if file is not None:
                yield entry.name, file.read()


def read_metadata(wheel: Path) -> Message:
    (content,) = [content for name, content in read_files(wheel) if name.endswith("/METADATA")]
    return BytesParser().parsebytes(content)


def is_program_or_library(content: bytes) -> bool:
    """The sdist also holds cores, for tests."""
    is_elf = content.startswith(ELF_MAGIC) and content[16] in (ET_EXEC, ET_DYN)
    return is_elf or content.startswith(b"MZ")


def read_linked_libraries(elf: bytes) -> list[str]:
    """DT_NEEDED, by readelf: a machine that has linked it has binutils."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(elf)
        file.flush()
        argv = ["readelf", "--dynamic", file.name]
        listing = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", listing)


def read_license(package: str) -> str | None:
    """As the package itself says where it is installed: License-Expression, or an older field."""
    try:
        facts = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return None
    text = facts["License-Expression"] or facts["License"] or "UNKNOWN"
    if text != "UNKNOWN" and "\n" not in text:  # some put the whole text there
        return str(text)
    classifiers = facts.get_all("Classifier") or []
    names = [name.removeprefix(CLASSIFIER) for name in classifiers if name.startswith(CLASSIFIER)]
    return names[0] if names else None


def describe_license(text: str) -> dict[str, Any]:
    identifier = fixup_id(text)
    return {"license": {"id": identifier} if identifier else {"name": text}}


def describe_hash(content: bytes) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]


def describe_file(artefact: str, name: str, content: bytes) -> dict[str, Any]:
    is_compiled = is_program_or_library(content)
    kind = "library" if ".so" in name or name.endswith(".dll") else "application"
    described: dict[str, Any] = {
        "type": kind if is_compiled else "file",
        "bom-ref": f"{artefact}#{name}",
        "name": name,
        "hashes": describe_hash(content),
    }
    linked = read_linked_libraries(content) if content.startswith(ELF_MAGIC) and is_compiled else []
    if linked:
        described["properties"] = [
            {"name": f"{NAME}:linked", "value": library} for library in linked
        ]
    return described


def describe_artefact(path: Path) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": path.name,
        "name": path.name,
        "hashes": describe_hash(path.read_bytes()),
        "components": [describe_file(path.name, *file) for file in read_files(path)],
    }


def describe_requirement(requirement: Requirement) -> dict[str, Any]:
    """A package that is needed and not shipped: its version is a range."""
    name = canonicalize_name(requirement.name)
    marker = str(requirement.marker or "")
    licence = read_license(requirement.name)
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}",
        "name": name,
        "purl": f"pkg:pypi/{name}",
        "isExternal": True,
        "versionRange": "vers:pypi/" + "|".join(sorted(map(str, requirement.specifier))),
        "scope": "optional" if EXTRA.search(marker) else "required",
    }
    if licence:
        described["licenses"] = [describe_license(licence)]
    if marker:
        described["properties"] = [{"name": f"{NAME}:marker", "value": marker}]
    return described


def describe_requirements(texts: list[str]) -> list[dict[str, Any]]:
    """Each package once: one that is needed on some machines may be in an extra for others."""
    described = [describe_requirement(Requirement(text)) for text in texts]
    described.sort(key=lambda one: one["scope"] == "required")
    return sorted({one["bom-ref"]: one for one in described}.values(), key=lambda one: one["name"])


def make_document(folder: Path) -> dict[str, Any]:
    """Of all artefacts in ``folder``. Raises SystemExit if the wheel or the sdist is missing."""
    wheels = sorted(folder.glob(f"{NAME}-*.whl"))
    sdists = sorted(folder.glob(f"{NAME}-*.tar.gz"))
    if not wheels or not sdists:
        raise SystemExit(f"write_sbom: no wheel and sdist in {folder}: make dist")
    facts = read_metadata(wheels[0])
    own = f"pkg:pypi/{NAME}@{facts['Version']}"
    artefacts = [describe_artefact(path) for path in (*wheels, *sdists)]
    needed = describe_requirements(facts.get_all("Requires-Dist") or [])
    newest = max(path.stat().st_mtime for path in (*wheels, *sdists))
    digests = "".join(artefact["hashes"][0]["content"] for artefact in artefacts)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": uuid5(NAMESPACE_URL, digests).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(int(newest), UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": NAME,
                "version": facts["Version"],
                "purl": own,
                "licenses": [describe_license(facts["License-Expression"])],
            },
        },
        "components": [*artefacts, *needed],
        "dependencies": [{"ref": own, "dependsOn": [one["bom-ref"] for one in needed]}],
    }


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    folder = Path(sys.argv[1])
    document = make_document(folder)
    text = json.dumps(document, indent=1) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    if error is not None:
        raise SystemExit(f"write_sbom: not a valid CycloneDX document: {error}")
    path = folder / f"{NAME}-{document['metadata']['component']['version']}.cdx.json"
    path.write_text(text, encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
