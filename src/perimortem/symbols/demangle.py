"""Names as in the source: C++ by the C++ library of this machine, Rust by rust-demangler.

That one is no longer developed, so only this module uses it. The C++ library is loaded by its file name:
to search for it takes another process, which a confined one may not start.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import lru_cache

from perimortem.symbols.apart import demangle_apart

_RUST_LEGACY = re.compile(r"_ZN.*17h[0-9a-f]{16}E")
_NAME_MAX = 4096
"""Longer names are left as they are: a recursive demangler must not get unbounded input."""
_RESULT_MAX = 64 << 10
"""Longer results are not names that anyone wrote: the mangled name is left."""
_BACK_REFERENCES = 24
"""Each may double the result. A name with more of them may be a bomb: 275 bytes for gigabytes."""
_STRING = re.compile(
    r"std::(?:__cxx11::)?basic_string<char, std::char_traits<char>, std::allocator<char> ?>"
)
_BACK_REFERENCE = re.compile(r"S[0-9A-Z]*_|T[0-9]*_|B[0-9A-Za-z]*_")
_SUFFIX = re.compile(r"(?:\.(?:constprop|isra|part|cold|lto_priv|llvm|clone)\.?\d*)+$|@.*$")


_CXX_LIBRARIES = ("libstdc++.so.6", "libc++abi.so.1", "libc++.so.1")


@lru_cache(maxsize=1)
def _load_cxx() -> Callable[[str], str] | None:
    """__cxa_demangle of the C++ ABI; it returns memory that the caller frees."""
    for name in _CXX_LIBRARIES:
        try:
            demangle_cxx, free = ctypes.CDLL(name).__cxa_demangle, ctypes.CDLL(None).free
        except (OSError, AttributeError, TypeError):
            continue
        break
    else:
        return None
    demangle_cxx.restype = ctypes.c_void_p
    free.argtypes = (ctypes.c_void_p,)

    def read(name: str) -> str:
        status = ctypes.c_int()
        result = demangle_cxx(name.encode(), None, None, ctypes.byref(status))
        if not result:
            return name
        try:
            return ctypes.string_at(result).decode("utf-8", "backslashreplace")
        finally:
            free(result)

    return read


@lru_cache(maxsize=1)
def _load_rust() -> Callable[[str], str] | None:
    try:
        from rust_demangler import demangle as demangle_rust
    except ImportError:
        return None
    return lambda name: str(demangle_rust(name))


@lru_cache(maxsize=65536)
def demangle(name: str) -> str:
    """``name`` as in the source; unchanged if it is not mangled or cannot be read. The end of what is
    longer than 4,096 characters is left out."""
    if not name.startswith(("_Z", "_R", "__Z")) or len(name) > _NAME_MAX:
        return _cut(name)
    suffix = _SUFFIX.search(name)
    plain = name[: suffix.start()] if suffix else name
    is_rust = plain.startswith("_R") or _RUST_LEGACY.match(plain) is not None
    read = _load_rust() if is_rust else _load_cxx()
    if read is None:
        return name
    is_suspect = len(_BACK_REFERENCE.findall(plain)) > _BACK_REFERENCES
    try:
        found = demangle_apart(read, plain) if is_suspect else read(plain)
    except Exception:  # noqa: BLE001 - after any error the name remains as it is
        return name
    return _cut(_STRING.sub("std::string", found)) if len(found) <= _RESULT_MAX else name


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_MAX else f"{name[:_NAME_MAX]}..."
