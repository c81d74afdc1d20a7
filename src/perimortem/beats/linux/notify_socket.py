"""The receiving end of sd_notify(3): a datagram socket for the processes of one tree.

Abstract, so that a program that dropped its privileges can still reach it; senders are identified by the
kernel's credentials, never by the message. Messages for a supervisor above us are passed on.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator

assert sys.platform == "linux"

from perimortem.beats.sd_notify import (
    MESSAGE_MAX,
    Notification,
    decode_notification,
    encode_relayed,
)
from perimortem.model.recording import Event, Heartbeat

_CREDENTIALS = struct.Struct("3i")
_DESCRIPTORS_MAX = 64
_STOPPING_HOLD_NS = 90_000_000_000
"""As long as systemd gives a service to stop (TimeoutStopSec)."""
_THRESHOLD_LEAST_NS = 10_000_000
_AT_ONCE_MAX = 100
_HELD_MAX = 256
_KEPT = 20
_LAST_WORDS_S = 1.0
"""How long a slow supervisor is waited for when everything else is done. Arbitrary."""


class NotifySocket:
    """``name`` is for NOTIFY_SOCKET."""

    def __init__(self, relay_to: str | None = None) -> None:
        """``relay_to``: the NOTIFY_SOCKET that we were started with."""
        self.name = f"@perimortem/{os.getpid()}-{secrets.token_hex(8)}"
        self.refused = 0
        """Datagrams that were too long to be a notification."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(_address(self.name))
        self.relay = Relay(relay_to) if relay_to is not None else None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Iterator[tuple[int, Notification]]:
        """(pid of the sender, its message) for every pending datagram."""
        room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * _DESCRIPTORS_MAX)
        for _ in range(_AT_ONCE_MAX):  # other work needs the loop as well
            try:
                message, ancillary, flags, _ = self._socket.recvmsg(MESSAGE_MAX, room)
            except BlockingIOError:
                return
            except OSError:
                continue
            pid, descriptors = _decode_ancillary(ancillary)
            try:
                if flags & socket.MSG_TRUNC or not pid:
                    self.refused += 1
                    continue
                if self.relay is not None:
                    self.relay.pass_on(encode_relayed(message), descriptors)
                    descriptors = []
                yield pid, decode_notification(message)
            finally:
                _close_all(descriptors)  # which is the answer to BARRIER=1

    def close(self) -> None:
        if self.relay is not None:
            self.relay.close()
        self._socket.close()


class Relay:
    """To the supervisor above us: in order, and queued while it is slow; nothing here blocks."""

    def __init__(self, path: str) -> None:
        self._address = _address(path)
        self._held: deque[tuple[bytes, list[int]]] = deque()
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._has_room = select.epoll()
        self._has_room.register(self._out, 0)

    def fileno(self) -> int:
        """Readable when the supervisor can take queued messages: then :meth:`flush`."""
        return self._has_room.fileno()

    def pass_on(self, message: bytes, descriptors: list[int]) -> None:
        """We must close the descriptors. If too many are queued, beats are dropped first: the next one
        says the same.
        """
        if not message:
            _close_all(descriptors)
            return
        self._held.append((message, descriptors))
        if len(self._held) > _HELD_MAX:
            beat = next((held for held in self._held if held[0] == b"WATCHDOG=1"), self._held[0])
            self._held.remove(beat)
            _close_all(beat[1])
        self.flush()

    def flush(self) -> None:
        """As much as the supervisor takes now."""
        is_full = False
        while self._held and not is_full:
            message, descriptors = self._held[0]
            rights = struct.pack(f"{len(descriptors)}i", *descriptors)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
            try:
                # Connected, or the kernel reports no free space; again, since it may have restarted.
                self._out.connect(self._address)
                self._out.sendmsg([message], ancillary)
            except BlockingIOError:
                is_full = True
                continue
            except OSError:
                pass  # it is gone, or refuses this one
            self._held.popleft()
            _close_all(descriptors)
        self._has_room.modify(self._out, select.EPOLLOUT if is_full else 0)

    def close(self) -> None:
        deadline = time.monotonic() + _LAST_WORDS_S
        self.flush()
        while self._held and (left_s := deadline - time.monotonic()) > 0:
            self._has_room.poll(left_s)
            self.flush()
        for _, descriptors in self._held:
            _close_all(descriptors)
        self._has_room.close()
        self._out.close()


class SdNotifyBeat:
    """The heartbeat ``watchdog`` of one process, beaten by its notifications."""

    name = "watchdog"
    blind_spot = "threads that the notifying thread does not wait for"
    warning = ""

    def __init__(self, now_ns: int, threshold_ns: int | None, *, is_expected: bool) -> None:
        """``is_expected``: the user said that the program notifies; else it is judged once it did."""
        self.status: str | None = None
        self._beat_ns = now_ns
        self._threshold_ns = threshold_ns
        self._is_judged = is_expected
        self._beaten = False
        self._hold_until_ns = 0
        self._triggered_ns: int | None = None
        self._events: deque[Event] = deque(maxlen=_KEPT)

    def take(self, said: Notification, now_ns: int) -> None:
        """One notification of this process."""
        if said.watchdog_usec:
            self._threshold_ns = max(said.watchdog_usec * 1000, _THRESHOLD_LEAST_NS)
        if said.ready:
            self._event(now_ns, "sd.ready")
            # Without a beat so far it may be a program that only notifies readiness.
            self._is_judged = self._beaten
        if said.watchdog:
            self._is_judged = self._beaten = True
            self._beat_ns = now_ns
        if said.trigger:
            self._event(now_ns, "sd.watchdog_trigger")
            self._triggered_ns = now_ns
        if said.extend_usec:
            self._hold_until_ns = now_ns + said.extend_usec * 1000
        if said.stopping or said.reloading:
            self._event(now_ns, "sd.stopping" if said.stopping else "sd.reloading")
            self._hold_until_ns = max(self._hold_until_ns, now_ns + _STOPPING_HOLD_NS)
        if said.status is not None and said.status != self.status:
            self.status = said.status
            self._event(now_ns, "sd.status", said.status)

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        if self._triggered_ns is not None:
            return (Heartbeat("watchdog trigger", self._triggered_ns, True, 1_000_000, 0, False),)
        if not self._is_judged:
            return ()
        return (
            Heartbeat(
                "watchdog",
                self._beat_ns,
                self._beaten,
                self._threshold_ns,
                self._hold_until_ns,
                False,
            ),
        )

    def events(self) -> Iterable[Event]:
        return self._events

    def observe(self, now_ns: int) -> None:
        return

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        facts = (
            ["the program itself asked for help (WATCHDOG=trigger)"] if self._triggered_ns else []
        )
        return (*facts, *([f"its last status was: {self.status}"] if self.status else []))

    def close(self) -> None:
        return

    def _event(self, now_ns: int, name: str, text: str | None = None) -> None:
        self._events.append(Event(0, now_ns, name, "{}" if text is None else text))


def _close_all(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _address(name: str) -> str:
    return "\0" + name[1:] if name.startswith("@") else name


def _decode_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
    pid = 0
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            pid = _CREDENTIALS.unpack_from(data)[0]
        elif kind == socket.SCM_RIGHTS:
            descriptors += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return pid, descriptors
