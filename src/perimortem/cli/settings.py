"""From resolved settings to the monitor's configuration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from perimortem.config.data_dir import choose_data_dir
from perimortem.config.resolve import Resolved
from perimortem.errors import StoreError
from perimortem.hangs.policy import SECOND_NS, WatchPolicy
from perimortem.model.dump import NAMED_TYPES, DumpFormat, DumpOptions, MinidumpType, Pause
from perimortem.monitor.settings import OnHang, Settings
from perimortem.recorder import find_run_dir
from perimortem.store.paths import ensure_data_dir


def build_settings(resolved: Resolved) -> Settings:
    """A data directory that cannot be created is reported when something is to be written there."""
    run_dir = Path(resolved["run-dir"]).absolute() if resolved["run-dir"] else find_run_dir()
    data_dir = run_dir / "data"  # of a user without a home directory
    with suppress(StoreError):
        data_dir = choose_data_dir(resolved)
    with suppress(StoreError):
        ensure_data_dir(data_dir)
    return Settings(
        run_dir=run_dir,
        data_dir=data_dir,
        policy=_build_policy(resolved),
        dump=_dump_options(resolved),
        collect_stacks=resolved["stacks"],
        examine_memory_bytes=resolved["examine-memory"],
        use_agent=resolved["agent"],
        use_crash_handler=resolved["crash-handler"],
        follow=resolved["follow"],
        beat_from=resolved["beat-from"],
        force_pty=resolved["pty"],
        keeps_output=resolved["keep-output"],
        on_hang=OnHang(resolved["on-hang"]),
        captures_exit=resolved["capture-exit"],
        wait_for_all=resolved["wait"] == "all",
        redact=resolved["redact"],
    )


def _build_policy(resolved: Resolved) -> WatchPolicy:
    seconds = resolved.thresholds()
    default = seconds.pop("")
    return WatchPolicy(
        threshold_ns=int(default * SECOND_NS),
        grace_ns=int(resolved["grace"] * SECOND_NS),
        quiet_after_ns=int(resolved["quiet-after"] * SECOND_NS),
        threshold_of_ns={name: int(value * SECOND_NS) for name, value in seconds.items()},
    )


def _dump_options(resolved: Resolved) -> DumpOptions | None:
    text = resolved["dump-type"]
    if text == "none":
        return None
    types = NAMED_TYPES[text] if text in NAMED_TYPES else MinidumpType(int(text, 16))
    return DumpOptions(
        types=types,
        pause=Pause(resolved["pause"]),
        format=DumpFormat(resolved["dump-format"]),
        compress=resolved["compress"],
        include_dontdump=resolved["include-dontdump"],
    )
