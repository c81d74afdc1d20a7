"""Names as in the source: C++ by the C++ library (cxxfilt), Rust by rust-demangler.

Neither is maintained actively, so only this module uses them; a C++ library must be installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_RUST_LEGACY = re.compile(r"_ZN.*17h[0-9a-f]{16}E")
_NAME_MAX = 4096
"""Longer names are left as they are: a recursive demangler must not get unbounded input."""
_STRING = re.compile(
    r"std::(?:__cxx11::)?basic_string<char, std::char_traits<char>, std::allocator<char> ?>"
)
_SUFFIX = re.compile(r"(?:\.(?:constprop|isra|part|cold|lto_priv|llvm|clone)\.?\d*)+$|@.*$")


@lru_cache(maxsize=1)
def _load_cxx() -> Callable[[str], str] | None:
    try:
        import cxxfilt
    except (ImportError, OSError):
        return None
    try:
        cxxfilt.demangle("_Z1fv")
    except Exception:  # noqa: BLE001 - no C++ library: reported by errors of several kinds
        return None
    return lambda name: str(cxxfilt.demangle(name))


@lru_cache(maxsize=1)
def _load_rust() -> Callable[[str], str] | None:
    try:
        from rust_demangler import demangle as demangle_rust
    except ImportError:
        return None
    return lambda name: str(demangle_rust(name))


@lru_cache(maxsize=65536)
def demangle(name: str) -> str:
    """``name`` as in the source; unchanged if it is not mangled or cannot be read."""
    if not name.startswith(("_Z", "_R", "__Z")) or len(name) > _NAME_MAX:
        return name
    suffix = _SUFFIX.search(name)
    plain = name[: suffix.start()] if suffix else name
    is_rust = plain.startswith("_R") or _RUST_LEGACY.match(plain) is not None
    read = _load_rust() if is_rust else _load_cxx()
    if read is None:
        return name
    try:
        return _STRING.sub("std::string", read(plain))
    except Exception:  # noqa: BLE001 - after any error of a demangler the name remains as it is
        return name
