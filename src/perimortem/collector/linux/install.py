"""core_pattern: the kernel starts our helper for each process that dumps core.

The existing setting is saved first, and restored exactly. Another program's handler (systemd-coredump,
apport) is left alone unless we are asked to replace it, or to pass cores on to it.
The helper is copied to a path that only root can write: a user who changed it would be root at the next
crash.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path

assert sys.platform == "linux"

from perimortem.agent.library import find_core_helper
from perimortem.collector.layout import WORK_SLOTS
from perimortem.collector.linux import counts
from perimortem.collector.linux import state as kept
from perimortem.collector.linux.counts import ensure_counts, read_counts
from perimortem.collector.linux.in_flight import await_helpers
from perimortem.collector.linux.state import State, read_state, write_file, write_state
from perimortem.collector.rule import InstalledRule, Rule
from perimortem.errors import AccessDenied, PerimortemError, UsageError

_PATTERN = Path("/proc/sys/kernel/core_pattern")
_PIPE_LIMIT = Path("/proc/sys/kernel/core_pipe_limit")
_BOOT_FILE = Path("/etc/sysctl.d/90-perimortem.conf")
_ARGUMENTS = "%P %s %c %d %t %u %g %p %e"
_PATTERN_MAX = 127
_PIPE_LIMIT_LEAST = 4 * WORK_SLOTS
"""How many helpers at once; beyond it the kernel drops crashes, and nothing counts them. It leaves room
for helpers that find no slot, and count that. With 0 the kernel would not wait for a helper, and the
process would be gone before it can be read."""
_HELPER = "core-helper"
_SPECIFIERS = "%PIpiscdtugehE"
"""The specifiers of core(5) that the helper expands."""
_SLOTS = "slots"
_SETTINGS = (_HELPER, "previous", "run_dir", "chain", "state.json")
_HELPERS_PATIENCE_S = 30.0
"""A helper has read its settings long before; what it needs after that, it has open."""


def install(rule: Rule) -> bool:
    """Install it; False if it was already installed.

    Raises AccessDenied (not root), UsageError, PerimortemError (a foreign handler; an unsafe place)."""
    if rule.program is not None:
        raise UsageError(
            "the kernel's collector is for all programs",
            remedy="leave the name of the program away",
        )
    _require_root("install")
    if os.uname().machine != "x86_64":
        raise PerimortemError("cannot take cores of this machine", why="only x86-64 is supported")
    directory = kept.DIRECTORY
    pattern = f"|{directory}/{_HELPER} {_ARGUMENTS}"
    if len(pattern) > _PATTERN_MAX:
        raise PerimortemError("the path of the helper is too long for core_pattern", why=pattern)
    _make_safe_directory(directory)
    _check_run_dir(rule.folder)
    current, limit = _read(_PATTERN), int(_read(_PIPE_LIMIT) or 0)
    is_ours = current == pattern
    state = read_state(directory)
    if is_ours and state is not None:
        previous, previous_limit = state.previous_pattern, state.previous_pipe_limit
    elif is_ours:  # our state is lost: the kernel's own default is all we can restore
        previous, previous_limit = "core", limit
    else:
        previous, previous_limit = current, limit
    _check_previous(previous, rule, is_ours=is_ours)
    before = _describe(directory)
    new_limit = max(limit, _PIPE_LIMIT_LEAST)
    write_state(State(previous, previous_limit, pattern, new_limit), directory)
    write_file(directory / "previous", previous + "\n")
    write_file(directory / "run_dir", f"{rule.folder}\n")
    if rule.chains:
        write_file(directory / "chain", "1\n")
    else:
        (directory / "chain").unlink(missing_ok=True)
    ensure_counts(directory)
    if not (directory / _SLOTS).exists():
        # A user who could open it could lock all slots.
        write_file(directory / _SLOTS, b"", 0o600)
    _copy_helper(directory / _HELPER)
    _write(_PIPE_LIMIT, str(new_limit))
    _write(_PATTERN, pattern)
    if not rule.lasts:
        _BOOT_FILE.unlink(missing_ok=True)
    else:
        text = f"kernel.core_pattern = {pattern}\nkernel.core_pipe_limit = {new_limit}\n"
        write_file(_BOOT_FILE, "# perimortem system uninstall removes this file\n" + text)
    return not is_ours or before != _describe(directory)


def uninstall(program: str | None) -> bool:
    """Restore the previous setting; False if nothing of ours was installed. Raises AccessDenied.

    A setting that another program has made since stays. Helpers at work are waited for."""
    _require_root("uninstall")
    state = read_state(kept.DIRECTORY)
    is_ours = _read(_PATTERN).startswith(f"|{kept.DIRECTORY}/")
    if state is None and is_ours:  # our state is lost: never leave the kernel without its helper
        _write(_PATTERN, _read(kept.DIRECTORY / "previous") or "core")
    elif state is not None and is_ours:
        _write(_PATTERN, state.previous_pattern)
    if state is not None or is_ours:
        await_helpers(_HELPERS_PATIENCE_S)
    # Only now: the kernel reads it again at the end of a dump, and would not wait for the helper.
    if state is not None and is_ours and _read(_PIPE_LIMIT) == str(state.pipe_limit):
        _write(_PIPE_LIMIT, str(state.previous_pipe_limit))
    _BOOT_FILE.unlink(missing_ok=True)
    for name in (*_SETTINGS, _SLOTS, counts.NAME):
        with suppress(OSError):
            (kept.DIRECTORY / name).unlink()
    with suppress(OSError):
        kept.DIRECTORY.rmdir()
    return state is not None or is_ours


def list_installed() -> list[InstalledRule]:
    """The rule in effect, ours or not; a file name is the kernel's own way and not a rule."""
    current = _read(_PATTERN)
    state = read_state(kept.DIRECTORY)
    if state is not None and current == state.pattern:
        run_dir = _read(kept.DIRECTORY / "run_dir")
        has_chain = (kept.DIRECTORY / "chain").exists()
        kind = "core_pattern" + (f", then {state.previous_pattern}" if has_chain else "")
        crashes = read_counts(kept.DIRECTORY)
        return [InstalledRule("every program", run_dir, None, kind, True, crashes)]
    found = []
    if current[:1] in ("|", "@"):
        found.append(InstalledRule("every program", None, None, f"core_pattern {current}", False))
    if state is not None:
        kind = f"set up, but core_pattern is '{current}' now: install again, or uninstall"
        found.append(InstalledRule("every program", None, None, kind, True))
    return found


def _check_previous(previous: str, rule: Rule, *, is_ours: bool) -> None:
    is_handler = previous.startswith("|")
    if rule.chains and not is_handler:
        raise UsageError(
            "there is no handler to pass cores on to", why=f"core_pattern is '{previous}'"
        )
    unknown = sorted(set(re.findall(r"%(.)", previous)) - set(_SPECIFIERS)) if is_handler else []
    if unknown and (rule.chains or rule.replaces):
        raise PerimortemError(
            f"core_pattern asks for %{unknown[0]}",
            why="the helper cannot pass that to the handler that it passes cores on to",
            remedy=f"it supports %{' %'.join(_SPECIFIERS)}",
        )
    is_foreign = is_handler or previous.startswith("@")
    if is_foreign and not is_ours and not (rule.replaces or rule.chains):
        raise PerimortemError(
            f"core_pattern belongs to {previous.split(maxsplit=1)[0]}",
            why="it is left alone",
            remedy="--chain passes each core on to it, --replace takes its place until `uninstall`",
        )


def _make_safe_directory(directory: Path) -> None:
    """Only root may write it, or any directory above it."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in (directory, *directory.parents):
        facts = path.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != 0 or facts.st_mode & 0o022:
            raise PerimortemError(
                f"{path} can be written by users other than root",
                why="a user who changed the helper there would be root at the next crash",
                remedy=f"chown root {path}; chmod go-w {path}",
            )


def _check_run_dir(path: Path) -> None:
    """Root writes there at each crash, and trusts the listener."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (path, *path.parents):
        facts = place.lstat()
        is_shared = bool(facts.st_mode & stat.S_ISVTX) and place != path
        if facts.st_uid != 0 or (facts.st_mode & 0o022 and not is_shared):
            raise PerimortemError(
                f"{place} can be written by users other than root",
                why="the monitor of root listens below it",
                remedy="set PERIMORTEM_RUN_DIR=/run/perimortem",
            )


def _copy_helper(path: Path) -> None:
    source = find_core_helper()
    if source is None:
        raise PerimortemError("the core helper is not built", remedy="pip install .")
    building = path.with_name(f".{path.name}.new")
    building.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(building, flags, 0o755), "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o755)
    building.rename(path)


def _describe(directory: Path) -> list[bytes]:
    """The current state, to detect whether a second call changed anything."""
    found = []
    for name in _SETTINGS:
        try:
            found.append((directory / name).read_bytes())
        except OSError:
            found.append(b"")
    return found


def _require_root(what: str) -> None:
    if os.geteuid() != 0:
        raise AccessDenied(f"cannot {what} the system's collector", why="that requires root")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip("\n")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise AccessDenied(f"cannot write {path}", why=error.strerror or "") from error
