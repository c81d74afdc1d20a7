"""From two samples to the kind of a hang. Pure."""

from __future__ import annotations

from perimortem.model.thread_sample import (
    HangCause,
    HangKind,
    ProcessSample,
    ThreadActivity,
    ThreadSample,
)

_BUSY_SHARE = 0.3
"""Share of the time between samples; two loops that share a processor have half each. Arbitrary."""
_TICKS_LEAST_NS = 30_000_000
"""With fewer ticks of the clock the share of the kernel is not known."""
_TRANSFERS_LEAST = 1000
"""A second. Fewer are no sign of a loop."""
_RUNS_LEAST = 0.05
"""A thread that waited before, and runs at the second sample by chance, runs less."""
_STARVED_SHARE = 0.5
_SUSPENDED_NS = 10_000_000
_TELLING = (
    HangKind.STOPPED,
    HangKind.TRACED,
    HangKind.FROZEN,
    HangKind.DISK,
    HangKind.STARVED,
    HangKind.BUSY,
    HangKind.LOCK,
    HangKind.NETWORK,
)
"""If the thread that should progress only waits for an event: likely causes, in this order."""
_AS_A_WHOLE = (HangKind.FROZEN, HangKind.STOPPED, HangKind.TRACED)


def derive_cause(
    first: ProcessSample,
    second: ProcessSample,
    pid: int,
    stopped_names: tuple[str, ...],
    suspects: frozenset[int] = frozenset(),
) -> HangCause:
    """``stopped_names``: of the heartbeats; a thread with such a name is the one that should have
    beaten, else the main thread; ``suspects``: threads (tids) that are known to be stuck."""
    span_ns = max(1, second.monotonic_ns - first.monotonic_ns)
    threads = compare_threads(first, second)
    if second.suspended_ns - first.suspended_ns > _SUSPENDED_NS:
        return _make(HangKind.SUSPENDED, None, threads, span_ns, second)
    if not threads:
        return _make(HangKind.UNKNOWN, None, threads, span_ns, second)
    suspect = _choose_suspect(threads, pid, stopped_names, suspects)
    if suspect.tid in suspects or suspect.kind not in (HangKind.WAITING, HangKind.UNKNOWN):
        return _make(suspect.kind, suspect, threads, span_ns, second)
    for kind in _TELLING:
        found = next((thread for thread in threads if thread.kind is kind), None)
        # In idle thread pools, threads also wait for locks.
        if found is not None and kind not in (HangKind.LOCK, HangKind.NETWORK):
            return _make(kind, found, threads, span_ns, second)
    return _make(suspect.kind, suspect, threads, span_ns, second)


def _make(
    kind: HangKind,
    culprit: ThreadActivity | None,
    threads: tuple[ThreadActivity, ...],
    span_ns: int,
    look: ProcessSample,
) -> HangCause:
    return HangCause(kind, culprit, threads, span_ns / 1e6, look.thread_count)


def _choose_suspect(
    threads: tuple[ThreadActivity, ...],
    pid: int,
    stopped_names: tuple[str, ...],
    suspects: frozenset[int],
) -> ThreadActivity:
    stuck = next((thread for thread in threads if thread.tid in suspects), None)
    if stuck is not None:
        return stuck
    named = next((thread for thread in threads if thread.name in stopped_names), None)
    main = next((thread for thread in threads if thread.tid == pid), None)
    return named or main or threads[0]


def _compare(before: ThreadSample | None, now: ThreadSample) -> ThreadActivity:
    span_ns = max(1, now.at_ns - before.at_ns) if before else 1
    run_ns = now.run_ns - before.run_ns if before else 0
    ready_ns = now.ready_ns - before.ready_ns if before else 0
    kind, words = _derive_kind(before, now, run_ns / span_ns, ready_ns / span_ns)
    if before is not None and kind is HangKind.BUSY:
        words += _describe_work(before, now, span_ns)
    return ThreadActivity(now.tid, now.name, kind, words, run_ns / 1e6, ready_ns / 1e6)


def _describe_work(before: ThreadSample, now: ThreadSample, span_ns: int) -> str:
    """ ", 60% of it in the kernel, 84,000 reads and writes a second": a loop that does not wait."""
    user_ns, kernel_ns = now.user_ns - before.user_ns, now.kernel_ns - before.kernel_ns
    text = ""
    if user_ns + kernel_ns >= _TICKS_LEAST_NS and kernel_ns:
        text += f", {kernel_ns / (user_ns + kernel_ns):.0%} of it in the kernel"
    rate = (now.transfers - before.transfers) * 1e9 / span_ns
    if rate >= _TRANSFERS_LEAST:
        text += f", {float(f'{rate:.2g}'):,.0f} reads and writes a second"
    return text


def compare_threads(first: ProcessSample, second: ProcessSample) -> tuple[ThreadActivity, ...]:
    """What each thread did between the samples."""
    before = {thread.tid: thread for thread in first.threads}
    return tuple(_compare(before.get(thread.tid), thread) for thread in second.threads)


def _derive_kind(
    before: ThreadSample | None, now: ThreadSample, run_share: float, ready_share: float
) -> tuple[HangKind, str]:
    if now.wait in _AS_A_WHOLE:
        return now.wait, now.description
    if run_share >= _BUSY_SHARE:
        return HangKind.BUSY, f"ran {min(1.0, run_share):.0%} of the time"
    if ready_share >= _STARVED_SHARE or (now.wait is None and _has_not_run(before, now)):
        return HangKind.STARVED, "ready to run, but not scheduled"
    if now.wait is None and before is not None and before.wait and run_share < _RUNS_LEAST:
        return HangKind.WAITING, "runs at this moment, and hardly ran before"
    if now.wait is None:
        return HangKind.BUSY, f"ran {run_share:.0%} of the time"
    has_stood = before is not None and before.wait is now.wait and before.slices == now.slices
    if not has_stood and now.wait is HangKind.LOCK:
        return HangKind.WAITING, f"{now.description}, again and again"
    return now.wait, now.description


def _has_not_run(before: ThreadSample | None, now: ThreadSample) -> bool:
    return before is not None and before.wait is None and before.slices == now.slices


def describe_cause(cause: HangCause) -> str:
    """ "waits for a lock: main thread server (4711), futex: a mutex"."""
    if cause.culprit is None:
        return _PHRASES[cause.kind]
    thread = cause.culprit
    name = f"{thread.name} " if thread.name else ""
    words = f": {thread.description}" if thread.description else ""
    return f"{_PHRASES[cause.kind]}: thread {name}({thread.tid}){words}"


_PHRASES = {
    HangKind.LOCK: "waits for a lock",
    HangKind.BUSY: "busy",
    HangKind.DISK: "waits for a disk or another device",
    HangKind.NETWORK: "waits for the network",
    HangKind.WAITING: "waits for something from outside",
    HangKind.STARVED: "starved of CPU",
    HangKind.STOPPED: "stopped by a signal",
    HangKind.TRACED: "held by a debugger",
    HangKind.FROZEN: "frozen by its cgroup",
    HangKind.SUSPENDED: "the machine was suspended",
    HangKind.UNKNOWN: "the kernel does not show what it does",
}
