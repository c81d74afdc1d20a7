"""Settings from options and environment."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.model.dump import MinidumpType
from perimortem.monitor.settings import Settings
from perimortem.recorder.directory import find_run_dir
from perimortem.store.paths import ensure_data_dir, find_data_dir
from perimortem.watch.policy import WatchPolicy


def build_settings(
    policy: WatchPolicy, dump_type: object, *, stacks: bool, agent: bool
) -> Settings:
    """Raises StoreError when the data directory cannot be made or written."""
    return Settings(
        run_dir=find_run_dir(),
        data_dir=ensure_data_dir(find_data_dir()),
        policy=policy,
        dump_types=dump_type if isinstance(dump_type, MinidumpType) else None,
        collect_stacks=stacks,
        use_agent=agent,
    )
