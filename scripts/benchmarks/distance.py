"""A server that is further away: behind a proxy that keeps everything for a while.

It is a process of its own, so that its work is none of the client's CPU.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from contestants import Opening, Sampler, Sizes

SOCKET: Final = ".s.PGSQL.5432"
CHUNK: Final = 1 << 16
MILLISECOND: Final = 0.001


def a_millisecond_away(opening: Opening) -> Opening:
    """Open what a contestant needs on a server to which a round trip takes a millisecond more."""

    @contextmanager
    def further(dsn: str, sizes: Sizes) -> Generator[Sampler]:
        with away(dsn, MILLISECOND / 2) as distant, opening(distant, sizes) as sample:
            yield sample

    return further


@contextmanager
def away(dsn: str, seconds: float) -> Generator[str]:
    """Give a DSN whose server is so far away, each way."""
    parameters = conninfo_to_dict(dsn)
    server = Path(str(parameters["host"])) / f".s.PGSQL.{parameters.get('port', 5432)}"
    with tempfile.TemporaryDirectory(prefix="runstore-bench-", dir="/tmp") as folder:
        command = [sys.executable, __file__, str(server), f"{folder}/{SOCKET}", str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
            try:
                assert proxy.stdout
                assert proxy.stdout.readline() == "listening\n"
                yield make_conninfo(dsn, host=folder, port=5432)
            finally:
                proxy.terminate()


async def serve(server: str, place: str, seconds: float) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_unix_connection(server)
        await asyncio.gather(pass_on(reader, questions, seconds), pass_on(answers, writer, seconds))

    async with await asyncio.start_unix_server(meet, place) as listening:
        print("listening", flush=True)
        await listening.serve_forever()


async def pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(CHUNK):
        loop.call_later(seconds, writer.write, chunk)
    loop.call_later(seconds, writer.close)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], float(sys.argv[3])))
