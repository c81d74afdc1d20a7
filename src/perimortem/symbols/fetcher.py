"""Ask symbol servers for files, in another process: who reads dumps has no network.

That process takes what is wanted of a module, as JSON, and gives a path and what it tried.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

from perimortem.model.snapshot import Module
from perimortem.symbols.cache import find_cache_dir
from perimortem.symbols.download import Failed, download
from perimortem.symbols.tried import FOUND, NOT_THERE, Fetched, Tried
from perimortem.symbols.wanted import Wanted, list_keys
from perimortem.system import Service, open_selector

_TIMEOUT_S = 60
_PATIENCE_S = 600
_BUILD_ID = re.compile(r"[0-9a-f]{2,128}")
_FOLDER = "files"
"""In the cache: a folder for each server, in its own layout."""
_NAME_MAX = 120


class Fetcher:
    """Start it before this process is confined."""

    def __init__(self, urls: tuple[str, ...] = (), *, debuginfod: bool = False) -> None:
        """``urls``: servers of any kind; ``debuginfod``: also debuginfod-find. Raises OSError."""
        self._service = Service(__name__, (urls, debuginfod))

    def fetch(self, module: Module, wanted: Wanted) -> Fetched:
        """Waits for the servers."""
        question = {
            "keys": list(list_keys(module, wanted)),
            "build_id": module.build_id.hex() if module.build_id is not None else "",
            "wanted": wanted,
        }
        answer = self._ask(json.dumps(question).encode() + b"\n")
        try:
            values = json.loads(answer)
            tried = tuple(Tried(wanted, str(place), str(said)) for place, said in values["tried"])
            return Fetched(Path(values["path"]) if values["path"] else None, tried)
        except (ValueError, TypeError, KeyError):
            return Fetched(None, (Tried(wanted, "the symbol servers", "no answer"),))

    def _ask(self, question: bytes) -> bytes:
        selector = open_selector()
        received = b""
        try:
            selector.register(self._service.waitable(), lambda _now_ns: None)
            self._service.send(question)
            while not received.endswith(b"\n"):
                if not selector.wait(_PATIENCE_S):
                    return b""
                part = self._service.read()
                if part == b"":
                    return b""
                received += part or b""
        finally:
            selector.close()
        return received

    def close(self) -> None:
        self._service.end(0)


def serve(
    settings: tuple[tuple[str, ...], bool], lines: Iterator[bytes], send: Callable[[bytes], None]
) -> None:
    """The other process: an answer for each question."""
    urls, asks_debuginfod = settings
    folder = find_cache_dir().parent / _FOLDER
    for line in lines:
        question = json.loads(line)
        path, tried = _fetch(question["keys"], urls, folder)
        is_debug = question["wanted"] == Wanted.DEBUG
        if path is None and asks_debuginfod and is_debug and question["build_id"]:
            found = ask_debuginfod(question["build_id"])
            path = Path(found) if found else None
            tried.append(("debuginfod-find", FOUND if found else NOT_THERE))
        send(json.dumps({"path": str(path) if path else None, "tried": tried}).encode() + b"\n")


def _fetch(
    keys: list[str], urls: tuple[str, ...], folder: Path
) -> tuple[Path | None, list[tuple[str, str]]]:
    tried = []
    for url in urls:
        own = folder / urllib.parse.quote(url.rstrip("/"), safe="")[-_NAME_MAX:]
        for key in keys:
            try:
                path = download(url, key, own)
            except Failed as error:
                tried.append((f"{url.rstrip('/')}/{key}", str(error)))
                continue
            tried.append((f"{url.rstrip('/')}/{key}", FOUND))
            return path, tried
    return None, tried


def ask_debuginfod(build_id: str) -> str:
    """The path that debuginfod-find prints; empty if it fails, or is not installed."""
    if not _BUILD_ID.fullmatch(build_id):
        return ""
    try:
        answer = subprocess.run(
            ["debuginfod-find", "debuginfo", build_id],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    path = answer.stdout.strip()
    return path if answer.returncode == 0 and "\n" not in path else ""
