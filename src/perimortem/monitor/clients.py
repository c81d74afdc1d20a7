"""Programs that talk to the monitor: they say hello, and that they crash.

Who speaks, the kernel says; what is said is checked before anything is done about it. No client is
waited for: what is not there is not read, an answer that finds no room ends the connection.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass

from perimortem.errors import MalformedInput
from perimortem.monitor.cores import read_core
from perimortem.monitor.crashes import Crashes
from perimortem.monitor.loop import Monitor
from perimortem.monitor.session import Session
from perimortem.system import descriptors_max
from perimortem.wire import Connection, Listener, Received
from perimortem.wire.frames import Message, WrongVersion, decode_message, encode_answer
from perimortem.wire.layout import FrameKind, Outcome

CONNECTIONS_MAX = 2000
"""More at once than programs on one machine crash together; each takes a descriptor. Arbitrary."""
_MESSAGES_AT_ONCE = 16
_ACCEPTED_AT_ONCE = 64

FindSession = Callable[[int, int], Session | None]
"""find(pid, now_ns): the target that this process is, or is from now on; None: it is none of ours."""


@dataclass
class _Client:
    connection: Connection
    is_open: bool = True
    is_answer_due: bool = False
    """It crashes and waits for its dump: the last to be turned away."""


class Clients:
    """All connections of one listener."""

    def __init__(
        self,
        listener: Listener,
        monitor: Monitor,
        find_session: FindSession,
        on_leave: Callable[[Session], None] = lambda _session: None,
        find_core: FindSession | None = None,
    ) -> None:
        """``find_session``: whose message it is; ``on_leave``: a target has taken its handler off;
        ``find_core``: the target for a process that dumps core, where cores are taken."""
        self._listener = listener
        self._monitor = monitor
        self._find_session = find_session
        self._on_leave = on_leave
        self._find_core = find_core
        self._crashes = Crashes(monitor)
        self._most = min(CONNECTIONS_MAX, descriptors_max() // 2)
        self._clients: dict[int, _Client] = {}
        """By what they are waited for by; in the order in which they came."""
        monitor.selector.register(listener.waitable(), self._accept)

    def __len__(self) -> int:
        return len(self._clients)

    def close(self) -> None:
        """Turn all away."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._monitor.selector.unregister(self._listener.waitable())

    def _accept(self, _now_ns: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            connection = self._listener.accept()
            if connection is None:
                return
            if len(self._clients) >= self._most and not self._make_room():
                connection.send(encode_answer(FrameKind.REFUSED, Outcome.TOO_MANY))
                connection.close()
                continue
            self._clients[connection.waitable()] = client = _Client(connection)
            serve = functools.partial(self._serve, client)
            self._monitor.selector.register(connection.waitable(), serve)

    def _make_room(self) -> bool:
        """Whoever has been here longest and waits for nothing goes."""
        idle = next((c for c in self._clients.values() if not c.is_answer_due), None)
        if idle is not None:
            self._drop(idle)
        return idle is not None

    def _serve(self, client: _Client, now_ns: int) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            if not client.is_open:
                return
            try:
                received = client.connection.receive()
                if received is None:
                    return
                message = decode_message(received.data)
            except EOFError:
                self._drop(client)
                return
            except WrongVersion:
                self._refuse(client, Outcome.WRONG_VERSION)
                return
            except MalformedInput:
                self._refuse(client, Outcome.MALFORMED)
                return
            self._take(client, received, message, now_ns)

    def _take(self, client: _Client, received: Received, message: Message, now_ns: int) -> None:
        if message.kind is FrameKind.PING:
            self._answer(client, encode_answer(FrameKind.PONG, value=message.value))
            return
        if message.kind is FrameKind.CORE:
            self._take_core(client, received, message, now_ns)
            return
        session = self._find_session(received.pid, now_ns) if received.pid > 0 else None
        if session is None or session.ended_ns is not None:
            self._refuse(client, Outcome.NOT_WATCHED)
        elif message.kind is FrameKind.HELLO:
            self._answer(client, encode_answer(FrameKind.WELCOME))
        elif message.kind is FrameKind.LEAVE:
            self._on_leave(session)
            self._answer(client, encode_answer(FrameKind.DONE))
        elif message.crash is not None and not client.is_answer_due:
            client.is_answer_due = True
            self._crashes.take(
                session, message.crash, lambda outcome: self._tell_done(client, outcome)
            )

    def _take_core(
        self, client: _Client, received: Received, message: Message, now_ns: int
    ) -> None:
        """Only root may speak for the kernel; and what it tells of ourselves is not taken."""
        pid = message.pid
        is_ours = pid in self._monitor.helper_pids() | {os.getpid()}
        find = self._find_core if received.is_root and not is_ours else None
        session = find(pid, now_ns) if find is not None else None
        # The pid may have been given to another since.
        if session is None or session.target.ref.start_time_ticks != message.start_time_ticks:
            self._refuse(client, Outcome.NOT_WATCHED)
            return
        try:
            crash = read_core(self._monitor.settings.run_dir, pid, now_ns)
        except (MalformedInput, OSError):
            self._refuse(client, Outcome.MALFORMED)
            return
        client.is_answer_due = True
        self._crashes.take(session, crash, lambda outcome: self._tell_done(client, outcome))

    def _tell_done(self, client: _Client, outcome: Outcome) -> None:
        """It may have left meanwhile; its crash is kept all the same."""
        client.is_answer_due = False
        if client.is_open:
            self._answer(client, encode_answer(FrameKind.DONE, outcome))

    def _answer(self, client: _Client, message: bytes) -> None:
        if not client.connection.send(message):
            self._drop(client)

    def _refuse(self, client: _Client, outcome: Outcome) -> None:
        client.connection.send(encode_answer(FrameKind.REFUSED, outcome))
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client.is_open:
            client.is_open = False
            waitable = client.connection.waitable()
            del self._clients[waitable]
            self._monitor.selector.unregister(waitable)
            client.connection.close()
