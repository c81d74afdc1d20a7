"""killed_at.py [worker] STEP ARGUMENTS...: perimortem, which kills itself (SIGKILL) at a step.

A step is "before" or "after" and a function: "before:perimortem.dumping.naming:publish". With "worker"
it is the dump worker that does, and the monitor goes on; without, the monitor.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path


def arm(step: str) -> None:
    when, module_name, path = step.split(":")
    owner = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    function = getattr(owner, name)

    def killed(*arguments, **options):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, killed)


def main() -> int:
    if sys.argv[1] == "--as-worker":
        step = Path(__file__).with_name("step").read_text()
        sys.path[:0] = [os.environ["KILLED_AT_PATH"]]
        from perimortem.dumping import worker

        arm(step)
        return worker.main()
    target, arguments = "monitor", sys.argv[1:]
    if arguments[0] == "worker":
        target, arguments = arguments[0], arguments[1:]
    step, *arguments = arguments
    if target == "monitor":
        arm(step)
    else:
        from perimortem import dumping
        from perimortem.monitor import base as monitor_base

        original = monitor_base.Helper
        # -I hides the environment: the step lies in a file beside a copy of this one.
        base = Path(os.environ["KILLED_AT_BASE"])
        (base / "step").write_text(step)
        copy = base / "killed_at.py"
        package = repr(str(Path(dumping.__file__).parent.parent.parent))
        text = Path(__file__).read_text()
        copy.write_text(text.replace('os.environ["KILLED_AT_PATH"]', package))

        def start(argv, environment, **options):
            if argv[-1].endswith("/examine/worker.py"):
                return original(argv, environment, **options)
            return original([*argv[:-1], str(copy), "--as-worker"], environment, **options)

        monitor_base.Helper = start
    from perimortem.cli.main import main as run

    sys.argv = ["perimortem", *arguments]
    run()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
