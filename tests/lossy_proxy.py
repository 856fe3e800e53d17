"""A proxy in front of a server that loses answers: what was asked for has happened all the same."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class LossyProxy:
    """`dsn` leads through it; each of the `losses` ends one connection instead of an answer."""

    def __init__(self, dsn: str, folder: Path, statement: str) -> None:
        parameters = conninfo_to_dict(dsn)
        self._server = (str(parameters["host"]), int(parameters["port"] or 5432))
        self._statement = statement.encode()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self.dsn = make_conninfo(dsn, host=str(folder), port="5432")
        self.losses = 0
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in [self._listening, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                self._sockets += [client, server]
                losing = threading.Event()
                for work in (self._ask, self._answer):
                    threading.Thread(
                        target=work, args=(client, server, losing), daemon=True
                    ).start()

    def _connect(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _ask(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self._statement in data:
                    with self._lock:
                        if self.losses:
                            self.losses -= 1
                            losing.set()
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(
        self, client: socket.socket, server: socket.socket, losing: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if losing.is_set():
                    with self._lock:
                        self.lost += 1
                    break
                client.sendall(data)
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def lossy_proxy(dsn: str, statement: str) -> Generator[LossyProxy]:
    """Run a proxy that can lose the answers to a statement, named by a part of its text."""
    # The path of a socket has about 100 bytes.
    folder = Path(tempfile.mkdtemp(prefix="runstore-test-", dir="/tmp"))
    proxy = LossyProxy(dsn, folder, statement)
    try:
        yield proxy
    finally:
        proxy.close()
        shutil.rmtree(folder)
