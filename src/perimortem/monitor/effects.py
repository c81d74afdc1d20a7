"""Carry out the effects that the life cycle requests. Their results are posted as events."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perimortem.monitor.crash_effects import CrashEffects
from perimortem.monitor.exit_effects import ExitEffects
from perimortem.monitor.hang_effects import HangEffects
from perimortem.monitor.hang_policy import HangPolicy
from perimortem.monitor.lifecycle import Awaited, Effect
from perimortem.monitor.listener import Listener
from perimortem.monitor.target import Target
from perimortem.monitor.work import Work

Perform = Callable[[Target], object]


def map_effects(
    work: Work,
    hangs: HangEffects,
    policy: HangPolicy,
    crashes: CrashEffects,
    exits: ExitEffects,
    listener: Listener,
) -> Mapping[Effect, Perform]:
    """The handlers of all effects. None of them blocks."""

    def cancel_work(target: Target) -> None:
        work.cancel_all(target)
        hangs.forget(target)
        crashes.forget(target)

    def collect_status(target: Target) -> None:
        policy.note_end(target)  # not later: its parents react to its end, too
        exits.collect_status(target)

    def close(target: Target) -> None:
        exits.close(target)
        work.forget(target)
        policy.note_end(target)

    return {
        Effect.NOTIFY_HANG: hangs.notify,
        Effect.ARM_SAMPLE: hangs.arm_sample,
        Effect.DISARM_SAMPLE: lambda target: work.cancel(target, Awaited.SAMPLE),
        Effect.DUMP_HANG: hangs.dump,
        Effect.EXAMINE_HANG: hangs.examine,
        Effect.CANCEL_EXAMINATION: lambda target: work.cancel(target, Awaited.HANG_EXAMINATION),
        Effect.NOTIFY_HANG_EXAMINED: hangs.notify_examined,
        Effect.NOTIFY_RECOVERY: listener.on_recovery,
        Effect.END_TREE: policy.end_tree,
        Effect.SIGNAL_END: policy.signal_end,
        Effect.SIGNAL_KILL: policy.kill,
        Effect.ARM_PATIENCE: policy.arm_patience,
        Effect.DISARM_PATIENCE: lambda target: work.cancel(target, Awaited.PATIENCE),
        Effect.DUMP_CRASH: crashes.dump,
        Effect.ANSWER_CRASH: crashes.answer,
        Effect.EXAMINE_CRASH: crashes.examine,
        Effect.RECORD: exits.record,
        Effect.COLLECT_STATUS: collect_status,
        Effect.CONCLUDE: exits.conclude,
        Effect.CANCEL_WORK: cancel_work,
        Effect.STORE_END: exits.store,
        Effect.REPORT_END: exits.report,
        Effect.REPORT_RELEASE: exits.report_release,
        Effect.CLOSE: close,
    }
