"""Messages of sd_notify(3), decoded. Pure; any process that knows the socket can send them."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.text import printable

MESSAGE_MAX = 4096
_STATUS_MAX = 300
_USEC_MAX = 1 << 53


@dataclass(frozen=True)
class Notification:
    """The contents of one datagram. Times in microseconds; None: absent."""

    ready: bool = False
    stopping: bool = False
    reloading: bool = False
    watchdog: bool = False
    trigger: bool = False
    """WATCHDOG=trigger: the program itself reports that it cannot recover."""
    watchdog_usec: int | None = None
    extend_usec: int | None = None
    main_pid: int | None = None
    status: str | None = None
    barrier: bool = False


def decode_notification(message: bytes) -> Notification:
    """Known assignments of a datagram; unknown ones, and invalid values, are left out."""
    said: dict[str, str] = {}
    for line in message[:MESSAGE_MAX].split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals:
            said[name.decode("ascii", "replace")] = value.decode("utf-8", "backslashreplace")
    status = said.get("STATUS")
    return Notification(
        ready=said.get("READY") == "1",
        stopping=said.get("STOPPING") == "1",
        reloading=said.get("RELOADING") == "1",
        watchdog=said.get("WATCHDOG") == "1",
        trigger=said.get("WATCHDOG") == "trigger",
        watchdog_usec=_number(said.get("WATCHDOG_USEC")),
        extend_usec=_number(said.get("EXTEND_TIMEOUT_USEC")),
        main_pid=_number(said.get("MAINPID")),
        status=None if status is None else printable(status[:_STATUS_MAX]),
        barrier=said.get("BARRIER") == "1",
    )


def encode_relayed(message: bytes) -> bytes:
    """What is passed on to systemd: all but MAINPID, since its main process is the monitor."""
    lines = [line for line in message.split(b"\n") if line and not line.startswith(b"MAINPID=")]
    return b"\n".join(lines)


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 16:
        return None
    return min(int(text), _USEC_MAX) or None
