"""Rounds in which contestants take turns.

Each contestant lives in a process of its own, so that none pays for what another one imported or
keeps in memory. In a round each gives one short sample, in an order that is drawn anew; what
disturbs the machine for longer than that meets all of them. The processes are started afresh now
and then, since the layout of memory that one has got by chance stays with it for its life.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from contestants import Contestant, Sample, Sizes
from observer import Observer, ServerCost, between

WORKER = Path(__file__).with_name("worker.py")


class Died(Exception):
    """A contestant's process ended before its work."""


@dataclass(frozen=True)
class Turn:
    """What a stretch of a contestant's work cost it, and what it cost the server."""

    sample: Sample
    server: ServerCost


Round = dict[str, Turn]
"""The turn of each contestant, by its name."""


class Worker:
    """A contestant's process, waiting for its turn."""

    def __init__(self, contestant: Contestant, process: subprocess.Popen[str]) -> None:
        self.contestant = contestant
        self._process = process

    def wait_until_ready(self) -> None:
        """Return when it has done its work a first time."""
        self._answer()

    def sample(self) -> Sample:
        """Have it do its work once."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Sample(**json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Died(f"{self.contestant.name} died with status {self._process.wait()}")
        return line


@contextmanager
def started(contestant: Contestant, dsn: str, sizes: Sizes) -> Generator[Worker]:
    """Start a contestant's process, and end it with the block."""
    command = [contestant.python or sys.executable, str(WORKER)]
    command += [contestant.opening, dsn, json.dumps(asdict(sizes))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C at the terminal is for us alone; our block ends the process.
        process_group=0,
    ) as process:
        try:
            yield Worker(contestant, process)
        except KeyboardInterrupt:
            # It may be in the middle of something, and nobody reads its answer any more.
            process.kill()
            raise
        finally:
            assert process.stdin
            process.stdin.close()


def play(
    contestants: Sequence[Contestant],
    dsn: str,
    observer: Observer,
    sizes: Sizes,
    *,
    sessions: int,
    rounds: int,
) -> Iterator[Round]:
    """Yield the samples of each round; every session starts the processes afresh."""
    for _ in range(sessions):
        with ExitStack() as stack:
            workers = [
                stack.enter_context(started(contestant, dsn, sizes)) for contestant in contestants
            ]
            workers = [worker for worker in workers if _is_ready(worker)]
            for _ in range(rounds):
                random.shuffle(workers)
                yield {worker.contestant.name: _turn(worker, observer) for worker in workers}


def _is_ready(worker: Worker) -> bool:
    """Wait for a worker; one of a peer that does not run here is left out, and that is said."""
    try:
        worker.wait_until_ready()
    except Died as error:
        if worker.contestant.python is None:
            raise
        print(f"{error}; it is left out", file=sys.stderr)
        return False
    return True


def _turn(worker: Worker, observer: Observer) -> Turn:
    before = observer.so_far()
    sample = worker.sample()
    return Turn(sample, between(before, observer.so_far()))
