"""A snapshot without the names of directories: MiniDumpFilterModulePaths."""

from __future__ import annotations

import re
from dataclasses import replace

from perimortem.model.snapshot import Snapshot

_MAPS_PATH = re.compile(rb"^((?:\S+ +){5})/.*?([^/\n]*)$", re.M)


def filter_paths(snapshot: Snapshot) -> Snapshot:
    """Each path becomes its last part; the command line goes altogether."""
    dso = snapshot.dso_debug
    files = {name: text for name, text in snapshot.files.items() if name != "cmdline"}
    if "maps" in files:
        files["maps"] = _MAPS_PATH.sub(rb"\1\2", files["maps"])
    return replace(
        snapshot,
        modules=tuple(replace(m, path=_last_part(m.path)) for m in snapshot.modules),
        regions=tuple(replace(r, path=_last_part(r.path)) for r in snapshot.regions),
        handles=snapshot.handles
        and tuple(
            replace(
                handle,
                object_name=_last_part(handle.object_name),
                details={k: v for k, v in handle.details.items() if "/" not in str(v)},
            )
            for handle in snapshot.handles
        ),
        dso_debug=dso
        and replace(dso, objects=tuple(replace(o, name=_last_part(o.name)) for o in dso.objects)),
        files=files,
    )


def _last_part(path: str) -> str:
    return path.rpartition("/")[2] if path.startswith("/") else path
