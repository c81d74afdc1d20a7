"""Keep a server running, and say each time why it ended: `python supervisor.py COMMAND...`.

It is started again after a crash, a kill or a hang; not after a clean exit, and not when it ends five
times within a minute.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import perimortem

ENDS_MAX, WITHIN_S = 5, 60.0


async def supervise(argv: list[str]) -> list[perimortem.Report]:
    """The reports of all its ends."""
    reports: list[perimortem.Report] = []
    times: list[float] = []
    while True:
        result = await perimortem.run_async(argv, threshold_s=30, on_hang="abort")
        report = result.report
        reports.append(report)
        print(f"{report.verdict}: {report.exit.text}; by {report.who.text}", file=sys.stderr)
        if report.examination and report.examination.reason:
            print(f"  {report.examination.reason.text}", file=sys.stderr)
        if result.exit_status == 0 or report.verdict == "stopped":
            return reports
        times = [*times, time.monotonic()][-ENDS_MAX:]
        if len(times) == ENDS_MAX and times[-1] - times[0] < WITHIN_S:
            print("it ends again and again: giving up", file=sys.stderr)
            return reports


def self_test(programs: Path) -> None:
    reports = asyncio.run(supervise([str(programs / "crash_null")]))
    assert [report.verdict.value for report in reports] == ["crash"] * ENDS_MAX
    assert len(asyncio.run(supervise([str(programs / "clean")]))) == 1
    print(json.dumps({"ok": True}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--self-test"]:
        self_test(Path(sys.argv[2]))
    else:
        asyncio.run(supervise(sys.argv[1:]))
