"""serve MODULE: the process of a service; its settings are the first line of its input."""

from __future__ import annotations

import base64
import importlib
import pickle
import sys

assert sys.platform == "win32"


def main() -> int:
    """Until its input ends. The settings come from our own monitor, over a private pipe."""
    settings = pickle.loads(base64.b64decode(sys.stdin.buffer.readline()))

    def send(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    serve = importlib.import_module(sys.argv[1]).serve
    serve(settings, iter(sys.stdin.buffer.readline, b""), send)
    return 0


if __name__ == "__main__":
    sys.exit(main())
