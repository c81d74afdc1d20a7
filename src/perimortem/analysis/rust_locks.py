"""Which lock of Rust a thread waits for, by the function that called futex(2). Pure.

None of them notes its owner. In an optimized program a guard leaves no separate trace on the stack of
the thread that holds it, either: the compiler keeps a pointer to the lock's `Arc`, as every user has.

Sources: std::sys::sync of Rust 1.62 to 1.95 (futex.rs of mutex, rwlock and once), parking_lot 0.12.
"""

from __future__ import annotations

import re

_KINDS = (
    (rb"5mutex5futex\w{0,64}?14lock_contended", "Rust mutex"),
    (rb"6rwlock5futex\w{0,64}?(?:14read|15write)_contended", "Rust read-write lock"),
    (rb"4once5futex\w{0,64}?4call", "Rust Once"),
    (rb"11parking_lot9raw_mutex\w{0,64}?9lock_slow", "mutex of parking_lot"),
    (rb"11parking_lot10raw_rwlock\w{0,64}?_slow", "read-write lock of parking_lot"),
)
"""By a part of the mangled name, which legacy and v0 mangling have in common."""
LOCK_FUNCTION = re.compile(rb"|".join(part for part, _ in _KINDS))
"""A part of the name."""


def name_lock(function: bytes) -> str | None:
    """ "Rust mutex": what its caller waits for, if that is a lock."""
    return next((kind for part, kind in _KINDS if re.search(part, function)), None)
