"""A proxy in front of a server that knows the messages of the protocol, and what to do to each.

The messages are those of https://www.postgresql.org/docs/current/protocol-message-formats.html:
a type of one byte, but for a client's first one, and a length that counts itself.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Action = Literal["pass", "delay", "tear", "cut", "freeze"]

DELAY = 0.005
"""The seconds by which a message is delayed."""


@dataclass(frozen=True)
class Message:
    """A message as it is about to be passed on; `line` is that of its connection."""

    origin: Literal["client", "server"]
    type: bytes
    data: bytes
    line: int


Judge = Callable[[Message], Action]
"""Says what happens to a message: it is passed on, now or later, in part or not at all.

To tear is to cut the line in the middle of the message, to freeze is to pass on nothing more in
either direction while the line stays open. It is called for one message at a time.
"""


@dataclass
class At:
    """Judges that something happens to the `number`th message from when it is in force.

    At 0 nothing does; `seen` has the messages that passed by it.
    """

    number: int = 0
    action: Action = "pass"
    seen: list[Message] = field(default_factory=list[Message])

    def __call__(self, message: Message) -> Action:
        self.seen.append(message)
        return self.action if len(self.seen) == self.number else "pass"


class Losing:
    """Judges that lines are cut before a statement, named by a part of its text, or its answer.

    What lost its answer has happened all the same. Each of the `losses` cuts a line, and is then
    `lost`.
    """

    def __init__(self, statement: str, *, what: Literal["request", "answer"] = "answer") -> None:
        self._statement = statement.encode()
        self._what = what
        self._losing: set[int] = set()
        self.losses = 0
        self.lost = 0

    def __call__(self, message: Message) -> Action:
        if message.origin == "server":
            if message.line in self._losing:
                self._losing.remove(message.line)
                self.lost += 1
                return "cut"
        elif self.losses and self._statement in message.data:
            self.losses -= 1
            if self._what == "request":
                self.lost += 1
                return "cut"
            self._losing.add(message.line)
        return "pass"


class _Line:
    """A client's connection and the one to the server that it is passed on to."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sockets = (client, server)
        self.thawed = threading.Event()
        self.thawed.set()

    def cut(self) -> None:
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.thawed.set()


class WireProxy:
    """`dsn` leads through it; `judge` may be changed at any time, and so may the `server`."""

    def __init__(self, dsn: str, judge: Judge) -> None:
        self.server = dsn
        self.judge = judge
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        # No encryption is asked for, so that a client's first message is its startup.
        self.dsn = make_conninfo(
            dsn,
            host="127.0.0.1",
            port=str(self._listening.getsockname()[1]),
            sslmode="disable",
            gssencmode="disable",
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for line in self._lines:
            for each in line.sockets:
                each.close()

    def cut(self) -> None:
        """Cut all lines there are, the frozen ones included."""
        for line in list(self._lines):
            line.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    server = self._connect()
                except OSError:
                    # The server is away, and the client hears so.
                    client.close()
                    continue
                line, number = _Line(client, server), len(self._lines)
                self._lines.append(line)
                for origin, source, target in (
                    ("client", client, server),
                    ("server", server, client),
                ):
                    threading.Thread(
                        target=self._pass_on,
                        args=(line, number, origin, source, target),
                        daemon=True,
                    ).start()

    def _connect(self) -> socket.socket:
        parameters = conninfo_to_dict(self.server)
        host, port = str(parameters["host"]), int(parameters["port"] or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(f"{host}/.s.PGSQL.{port}")
        except OSError:
            server.close()
            raise
        return server

    def _pass_on(
        self,
        line: _Line,
        number: int,
        origin: Literal["client", "server"],
        source: socket.socket,
        target: socket.socket,
    ) -> None:
        with suppress(OSError, ValueError), source.makefile("rb") as stream:
            type_size = 0 if origin == "client" else 1
            while data := _read(stream, type_size):
                message = Message(origin, data[:type_size], data, number)
                type_size = 1
                with self._lock:
                    action = self.judge(message)
                if action == "freeze":
                    line.thawed.clear()
                elif action == "delay":
                    time.sleep(DELAY)
                line.thawed.wait()
                if action == "cut":
                    break
                if action == "tear":
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        line.cut()


def _read(stream: BinaryIO, type_size: int) -> bytes:
    """Read one message; none: there is no more."""
    head = stream.read(type_size + 4)
    if len(head) < type_size + 4:
        return b""
    return head + stream.read(int.from_bytes(head[type_size:]) - 4)


@contextmanager
def wire_proxy(dsn: str, judge: Judge | None = None) -> Generator[WireProxy]:
    """Run a proxy to the server of a DSN."""
    proxy = WireProxy(dsn, judge or At())
    try:
        yield proxy
    finally:
        proxy.close()
