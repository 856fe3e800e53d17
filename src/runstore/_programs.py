"""Run PostgreSQL's own programs, as an account that they accept.

They refuse to run as root, so root hands them to an account without privileges. That account
may be unable to reach the programs: then it gets a copy, and nobody's folder is opened.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Not TMPDIR: it may be closed to other accounts, and longer than the path of a socket, which has
# about 100 bytes, allows.
PARENT: Final = "/tmp"  # noqa: S108 - what is made there is a private folder.


@dataclass(frozen=True)
class Account:
    """The account that root hands the programs to."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs, ready to run in a private folder that ends with them."""

    bindir: Path
    folder: Path
    account: Account | None

    def run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, and leave judging its status to the caller."""
        return subprocess.run(
            (self.bindir / name, *arguments),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )

    def environment(self) -> dict[str, str]:
        """Return our environment without what would steer the programs from outside."""
        inherited = {name: value for name, value in os.environ.items() if name[:2] != "PG"}
        return {**inherited, "HOME": str(self.folder), "LC_ALL": "C", "TZ": "UTC"}

    def hand_over(self, path: Path) -> None:
        """Give a file or folder of ours to the account."""
        if self.account:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def reachable(self) -> Programs:
        """Return these programs, or a copy of them where the account cannot run these."""
        try:
            if self.run("initdb", "--version").returncode == 0:
                return self
        except PermissionError:
            # They lie in a virtual environment inside a closed home folder, for example.
            pass
        copies = self.folder / "programs"
        prefix = self.bindir.parent
        package = prefix.parent
        shutil.copytree(
            prefix,
            copies / package.name / prefix.name,
            symlinks=True,
            # Headers are half of the files, and no server reads them.
            ignore=shutil.ignore_patterns("include"),
        )
        # The wheel's programs look for these libraries in the folder beside their package.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copies / libraries.name)
        for path in (copies, *copies.rglob("*")):
            self.hand_over(path)
        bindir = copies / package.name / prefix.name / self.bindir.name
        return Programs(bindir, self.folder, self.account)


@contextmanager
def programs(
    bindir: Path, data_dir: Path | None = None, parent: str | Path = PARENT
) -> Generator[Programs]:
    """Make the programs of `bindir` ready to run, on `data_dir` as its owner if it is in use.

    Their folder is a new one in `parent`.
    """
    folder = Path(tempfile.mkdtemp(prefix="runstore-", dir=parent))
    try:
        found = Programs(bindir, folder, _account(data_dir))
        found.hand_over(folder)
        yield found.reachable() if found.account else found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(data_dir: Path | None) -> Account | None:
    """Return the account to use, or None to stay who we are."""
    if os.geteuid() != 0:
        return None
    if data_dir and (data_dir / "PG_VERSION").exists():
        owner = data_dir.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise RuntimeError("root cannot run PostgreSQL, and has no account postgres or nobody for it")
