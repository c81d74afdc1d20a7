"""Give up the rights of root: its user, its capabilities (capabilities(7))."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

assert sys.platform == "linux"

from perimortem.sandbox.confinement import User

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_VERSION_3 = 0x20080522
_LAST = 63
_DAC_READ_SEARCH, _SYS_PTRACE = 2, 19


def take_user(user: User) -> str | None:
    """Become that user, for ever. Why not, if not."""
    if os.geteuid() != 0 or user.uid == 0:
        return None
    hidden = _find_hidden(user)
    if hidden is not None:
        return f"the rights of user {user.uid} were not taken: {hidden} is not readable for it"
    try:
        os.setgroups(())
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:  # not mapped in our user namespace
        return f"the rights of user {user.uid} could not be taken: {error.strerror}"
    return None


def _find_hidden(user: User) -> str | None:
    """A directory with modules of ours that this user may not read: later imports would fail."""
    paths = [path for path in sys.path if os.path.isdir(path)]
    groups = os.getgroups()
    try:
        os.setgroups(())
        os.setegid(user.gid)
        os.seteuid(user.uid)
        return next(
            (p for p in paths if not os.access(p, os.R_OK | os.X_OK, effective_ids=True)), None
        )
    except OSError:
        return None  # taking the rights will say why
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def drop_capabilities(*, reads_process: bool = False) -> str | None:
    """Root keeps one: to read the files of other users, since it asked for that; with ``reads_process``
    also the one to read their processes. Why not, if not."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(_LAST + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where it is not there
    kept = 1 << _DAC_READ_SEARCH if os.geteuid() == 0 else 0
    if kept and reads_process:
        kept |= 1 << _SYS_PTRACE
    for wanted in (kept, 0):
        head = struct.pack("<Ii", _VERSION_3, 0)
        sets = struct.pack(
            "<IIIIII", wanted, wanted, 0, 0, 0, 0
        )  # effective, permitted, inheritable
        if not libc.capset(head, sets):
            return None
    return f"capabilities could not be dropped: {os.strerror(ctypes.get_errno())}"
