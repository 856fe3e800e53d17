"""Which peers there are, and an environment in which they are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

# Releases of the autumn of 2026. What an extra of theirs brings for PostgreSQL is named.
REQUIREMENTS: Final = {
    "SQLAlchemy": ["sqlalchemy[asyncio]==2.1.9", "psycopg[binary,pool]>=3.3"],
    "LangGraph": ["langgraph-checkpoint-postgres==3.2.0", "psycopg[binary,pool]>=3.3"],
    "DBOS": ["dbos==3.4.0"],
    "Agno": ["agno==3.1.10", "sqlalchemy[asyncio]==2.1.9", "psycopg[binary]>=3.3"],
    "ADK": ["google-adk==2.13.0", "sqlalchemy[asyncio]==2.1.9", "asyncpg", "orjson"],
    "OpenAI Agents": ["openai-agents[sqlalchemy]==0.24.0", "asyncpg", "orjson"],
}


def installed(top: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Install each peer in an environment of its own below a folder.

    Returns the interpreters of those that could be, and of the others what pip said last.
    """
    interpreters: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for peer, requirements in REQUIREMENTS.items():
        folder = top / peer.lower().replace(" ", "-")
        python = folder / "bin" / "python"
        note = folder / "installed"
        wanted = "\n".join(requirements)
        if not note.exists() or note.read_text(encoding="utf-8") != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            done = subprocess.run(
                [*command, *requirements], capture_output=True, text=True, check=False
            )
            if done.returncode:
                failures[peer] = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                continue
            note.write_text(wanted, encoding="utf-8")
        interpreters[peer] = python
    return interpreters, failures
