"""A stand-in for a sandbox: a temporary folder in which commands run.

It keeps files apart and isolates nothing else. The demonstration runs its own code only; code
that a model wrote belongs in a container or a virtual machine.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

COMMAND_SECONDS: Final = 60


@dataclass(frozen=True)
class CommandResult:
    """How a command ended, and what it printed."""

    exit_status: int
    stdout: str
    stderr: str
    seconds: float

    def as_json(self) -> dict[str, int | str | float]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Archive:
    """A saved state of a sandbox."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Sandbox:
    """A temporary folder. Its name, which is its id, is known before it is made."""

    id: str

    @property
    def folder(self) -> Path:
        """The folder, which exists from `create` to `remove`."""
        return Path(tempfile.gettempdir()) / self.id

    def create(self) -> None:
        """Make the folder, for our eyes only."""
        self.folder.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder with all that is in it, if it exists."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, command: list[str]) -> CommandResult:
        """Run a command in the folder to its end."""
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=self.folder,
            # Nothing of ours steers the command, and it leaves no compiled files behind.
            env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
        seconds = round(time.monotonic() - began, 3)
        return CommandResult(done.returncode, done.stdout, done.stderr, seconds)

    def archive(self) -> Archive:
        """Pack the folder as it is now, and say how large that is and what its hash is.

        The archive itself is not kept: the demonstration never goes back to one.
        """
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(self.folder, arcname=".")
        content = packed.getvalue()
        return Archive(hashlib.sha256(content).hexdigest(), len(content))
