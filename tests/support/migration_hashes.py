"""The hashes of all migrations: a file that is listed never changes.

Run as a script it lists the new files, and refuses when a listed one has changed or is gone.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

from deploys import MIGRATIONS

# Not in migrations/, which is what a wheel carries: there the wheel's own list has hashes.
LIST = Path(__file__).parents[1] / "migrations" / "SHA256SUMS"


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file by its name, those of optional sets by folder and name."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.sql")}
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}


def listed(path: Path) -> dict[str, str]:
    """Read a list as `sha256sum` writes it. One that does not exist lists nothing."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    pairs = (line.split("  ", 1) for line in lines)
    return {name: digest for digest, name in pairs}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Say how the files differ from their list."""
    return sorted(
        [f"{name} has changed" for name in before.keys() & after if before[name] != after[name]]
        + [f"{name} is gone" for name in before.keys() - after]
        + [f"{name} is not listed: run scripts/record-migrations" for name in after.keys() - before]
    )


def record() -> None:
    """List the files that are not listed yet."""
    before, after = listed(LIST), hashes(MIGRATIONS)
    known = {name: after[name] for name in before.keys() & after}
    if refused := changes(before, known):
        sys.exit(
            "\n".join(refused)
            + "\nA released migration stays as it is: correct it by another one. The lines of one"
            f" that was never released may be deleted from tests/migrations/{LIST.name} first."
        )
    lines = [f"{digest}  {name}\n" for name, digest in sorted(after.items())]
    LIST.write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    record()
