"""Sort dumps by the cause of the crash: `python triage.py DUMP...`.

Crashes of one cause have one signature, regardless of build and machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import perimortem


def triage(paths: list[Path]) -> dict[str, list[Path]]:
    """Dumps by signature; those that cannot be read are under what is wrong with them."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            found = perimortem.analyze(path)
        except perimortem.PerimortemError as error:
            groups[f"unreadable: {error.why or error.what}"].append(path)
            continue
        reason = found.reason.text if found.reason else "no crash"
        signature = found.signature.text if found.signature else "-"
        groups[f"{signature}\n    {reason}"].append(path)
    return groups


def main(paths: list[Path]) -> None:
    groups = triage(paths)
    for cause, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):4d}  {cause}")
        for path in found:
            print(f"          {path}")


def self_test(programs: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for kind in ("null-field", "null-field", "abort"):
            report = perimortem.run([programs / "faults", kind]).report
            paths += [Path(dump.path) for dump in report.dumps if dump.path]
        broken = Path(folder) / "broken.dmp"
        broken.write_bytes(b"no dump")
        groups = triage([*paths, broken])
        assert sorted(map(len, groups.values())) == [1, 1, 2], groups
        main([*paths, broken])
    print(json.dumps({"ok": True}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--self-test"]:
        self_test(Path(sys.argv[2]))
    else:
        main([Path(argument) for argument in sys.argv[1:]])
