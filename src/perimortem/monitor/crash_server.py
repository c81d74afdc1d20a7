"""The crash server: programs register and report their crashes.

Clients are identified by the kernel (SCM_CREDENTIALS), and a message is validated before it is acted
on. The server never blocks on a client: it reads only what has arrived, and an answer that does not fit
the socket buffer ends the connection. A process waits in its crash handler while it is dumped; it is
dumped once, and further crash reports get the answer to the first.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.model.crash import Crash
from perimortem.model.exits import Sender
from perimortem.model.process import ProcessRef
from perimortem.monitor.base import Base
from perimortem.monitor.cores import read_core
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.target import Target
from perimortem.monitor.turns import Steps
from perimortem.proc import list_numbers, read_stat
from perimortem.system import descriptors_max
from perimortem.text import printable
from perimortem.wire import Connection, Listener, Received
from perimortem.wire.frames import Message, WrongVersion, decode_message, encode_answer
from perimortem.wire.layout import FrameKind, Outcome

CONNECTIONS_MAX = 2000
"""More than the programs of one machine that crash at once; each takes a descriptor. Arbitrary."""
_MESSAGES_AT_ONCE = 4
_ACCEPTED_AT_ONCE = 64
"""The rest follows in the next turn of the loop. Arbitrary, both."""

FindTarget = Callable[[int, int], Target | None]
"""find(pid, now_ns): the target of this process, new or existing; None: not ours."""


@dataclass
class _Client:
    connection: Connection
    is_open: bool = True
    is_answer_due: bool = False
    """It crashed and waits for its dump; disconnected last."""


class CrashServer:
    """All connections of one listener, and the crashes reported over them."""

    def __init__(
        self,
        listener: Listener,
        base: Base,
        run_dir: Path,
        helper_pids: Callable[[], set[int]],
        find_target: FindTarget,
        find_core: FindTarget | None = None,
        on_leave: Callable[[Target], None] = lambda _target: None,
    ) -> None:
        """``find_target``: the target that sent a message; ``find_core``: the target that dumps core,
        if cores are collected; ``helper_pids``: our own processes, whose cores are not collected;
        ``on_leave``: a target has removed its crash handler. What else it is watched for goes on."""
        self._listener = listener
        self._selector = base.selector
        self._turns = base.turns
        self._clock = base.clock
        self._targets = base.targets
        self._reader = base.reader
        self._run_dir = run_dir
        self._helper_pids = helper_pids
        self._find_target = find_target
        self._find_core = find_core
        self._on_leave = on_leave
        self._most = min(CONNECTIONS_MAX, descriptors_max() // 2)
        self._clients: dict[int, _Client] = {}
        """By waitable, oldest connection first."""
        self._answers: dict[ProcessRef, list[_Client]] = {}
        """The clients that wait for the dump of their process."""
        self._cores: deque[tuple[_Client, Message]] = deque()
        """Answered, and not yet looked at."""
        self._selector.register(listener.waitable(), self._accept)

    def __len__(self) -> int:
        return len(self._clients)

    def close(self) -> None:
        """Disconnect all clients."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener.waitable())

    def answer(self, target: Target) -> None:
        """Release the process: its dump is written, or there will be none."""
        outcome = Outcome.OK if any(dump.path for dump in target.dumps) else Outcome.NO_DUMP
        for client in self._answers.pop(target.ref, ()):
            client.is_answer_due = False
            if client.is_open:  # it may have left meanwhile; its crash is reported all the same
                self._answer(client, encode_answer(FrameKind.DONE, outcome))

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
            self._selector.register(connection.waitable(), serve)

    def _make_room(self) -> bool:
        """Disconnects the oldest client that is not waiting for a dump."""
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
            self._take_core(client, received, message)
            return
        target = self._find_target(received.pid, now_ns) if received.pid > 0 else None
        if target is None or not target.is_alive:
            self._refuse(client, Outcome.NOT_WATCHED)
        elif message.kind is FrameKind.HELLO:
            self._answer(client, encode_answer(FrameKind.WELCOME))
        elif message.kind is FrameKind.LEAVE:
            self._on_leave(target)
            self._answer(client, encode_answer(FrameKind.DONE))
        elif message.crash is not None and not client.is_answer_due:
            self._take_crash(client, target, message.crash)

    def _take_core(self, client: _Client, received: Received, message: Message) -> None:
        """Only root may report for the kernel.

        Answered at once: without that in a second, the helper keeps the core itself. The rest takes
        longer, and is done in short turns: further crashes of a storm are answered in between."""
        if not received.is_root or self._find_core is None:
            self._refuse(client, Outcome.NOT_WATCHED)
            return
        self._answer(client, encode_answer(FrameKind.WELCOME))
        client.is_answer_due = True
        self._cores.append((client, message))
        self._turns.take(self, self._note_cores())

    def _note_cores(self) -> Steps:
        while self._cores:
            client, message = self._cores.popleft()
            self._note_core(client, message, self._clock.monotonic_ns())
            yield True

    def _note_core(self, client: _Client, message: Message, now_ns: int) -> None:
        """Cores of our own processes are not collected."""
        pid = message.pid
        is_ours = pid in self._helper_pids() | {os.getpid()}
        target = (
            self._find_core(pid, now_ns) if self._find_core is not None and not is_ours else None
        )
        # The pid may have been reused.
        if target is None or target.ref.start_time_ticks != message.start_time_ticks:
            self._refuse(client, Outcome.NOT_WATCHED)
            return
        try:
            crash = read_core(self._run_dir, pid, now_ns, self._reader)
        except (MalformedInput, OSError):
            self._refuse(client, Outcome.MALFORMED)
            return
        self._take_crash(client, target, crash)

    def _take_crash(self, client: _Client, target: Target, crash: Crash) -> None:
        client.is_answer_due = True
        self._answers.setdefault(target.ref, []).append(client)
        if target.crash is not None:
            self._targets.post(target, Event.CRASHED_AGAIN)
            return
        sender = _find_sender(target.pid, crash)
        target.note_crash(crash, sender, self._reader.renew_process_info(target.process))
        self._targets.post(target, Event.CRASHED)

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
            self._selector.unregister(waitable)
            client.connection.close()


def _find_sender(pid: int, crash: Crash) -> Sender | None:
    """The other process that sent the signal. It may be in another namespace (0), or gone."""
    numbers = list_numbers(pid)
    if crash.sender_pid is None or crash.sender_pid in numbers | {0}:
        return None
    facts = read_stat(crash.sender_pid) if len(numbers) == 1 else None
    name = printable(facts.name) if facts else None
    return Sender(crash.sender_pid, crash.sender_uid, name)
