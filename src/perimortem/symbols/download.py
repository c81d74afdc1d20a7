"""Files of symbol servers, by HTTP into a folder that has their layout. Bounded in size and time.

What is fetched is checked by its reader: a server may answer with anything.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from contextlib import suppress
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

_CONNECT_S = 10
"""Also for each part of an answer."""
_TOTAL_S = 120
_FILE_MAX = 2 << 30
_FOLDER_MAX = 8 << 30
"""Of all that is kept; the oldest goes first."""
_CHUNK = 256 << 10
_NOT_THERE = (400, 403, 404, 410)


class Failed(Exception):
    """Why a file did not come."""


def download(url: str, key: str, folder: Path) -> Path:
    """The file ``key`` of the server at ``url``, kept as ``folder``/``key``. Raises Failed."""
    target = folder / key
    if target.is_file():
        return target
    address = f"{url.rstrip('/')}/{urllib.parse.quote(key)}"
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_room(folder)
        with _open(address) as answer, open(partial, "xb") as out:
            _copy(answer, out, time.monotonic() + _TOTAL_S)
        partial.replace(target)
    except urllib.error.HTTPError as error:
        missing = error.code in _NOT_THERE
        raise Failed("not there" if missing else f"HTTP status {error.code}") from error
    except (OSError, HTTPException, ValueError, zlib.error) as error:
        raise Failed(str(getattr(error, "reason", error)) or type(error).__name__) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return target


class _OnlyHttp(urllib.request.HTTPRedirectHandler):
    """A server must not lead us to a file of this machine, or to another protocol."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise Failed(f"it leads to {newurl[:100]}, which is not HTTP")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _open(address: str) -> Any:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(), urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(), urllib.request.HTTPDefaultErrorHandler(), _OnlyHttp(),
    ):  # fmt: skip
        opener.add_handler(handler)
    headers = {"User-Agent": "perimortem", "Accept-Encoding": "gzip"}
    return opener.open(urllib.request.Request(address, headers=headers), timeout=_CONNECT_S)


def _copy(answer: Any, out: IO[bytes], until_s: float) -> None:
    is_packed = answer.headers.get("Content-Encoding", "").lower() == "gzip"
    unpack = zlib.decompressobj(31) if is_packed else None
    written = 0
    while part := answer.read(_CHUNK):
        if time.monotonic() > until_s:
            raise Failed(f"it takes longer than {_TOTAL_S} s")
        while part:
            data = unpack.decompress(part, _CHUNK) if unpack is not None else part
            part = unpack.unconsumed_tail if unpack is not None else b""
            written += len(data)
            if written > _FILE_MAX:
                raise Failed(f"it is larger than {_FILE_MAX >> 30} GiB")
            out.write(data)
    if unpack is not None and not unpack.eof:
        raise Failed("it was cut off")
    expected = answer.headers.get("Content-Length")
    if unpack is None and expected is not None and expected.isdigit() and int(expected) != written:
        raise Failed("it was cut off")


def _make_room(folder: Path) -> None:
    files = [(p.stat().st_mtime, p.stat().st_size, p) for p in folder.rglob("*") if p.is_file()]
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= _FOLDER_MAX:
            return
        path.unlink(missing_ok=True)
        total -= size
