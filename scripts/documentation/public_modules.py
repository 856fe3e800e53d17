"""The public modules of the package, and what each says of itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "runstore"


@dataclass(frozen=True)
class PublicModule:
    """A module whose name has no leading underscore."""

    name: str
    subject: str
    """The first line of its docstring, without the full stop."""


def public_modules() -> Iterator[PublicModule]:
    """Yield the modules that are documented, by name: those that define something public."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        # The package's own names are documented where they are defined.
        if not parts or any(part.startswith("_") for part in parts) or parts[0] == "cli":
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if docstring is None:
            raise ValueError(f"{path.relative_to(ROOT)} does not say what it is")
        subject = docstring.splitlines()[0].rstrip(".")
        yield PublicModule(".".join(("runstore", *parts)), subject)


def shared_models() -> list[str]:
    """Return the public names that private modules define: models that several modules share."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    return [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "_models"
        for alias in node.names
    ]
