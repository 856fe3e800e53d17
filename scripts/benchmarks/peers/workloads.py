"""Which peer takes part in which workload, each as its documentation says it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from contestants import Contestant

# The first word or two of a name is the peer's.
PEERS: Final = {
    "W1": [
        Contestant("SQLAlchemy Core", "peers.sqlalchemy_rows:append", "psycopg"),
        Contestant("LangGraph put, put_writes", "peers.langgraph_saver:append", "psycopg"),
        Contestant("DBOS step", "peers.dbos_workflows:append", "psycopg"),
        Contestant("Agno upsert_run", "peers.agno_runs:append", "psycopg"),
        Contestant("ADK append_event", "peers.adk_sessions:append", "psycopg"),
        Contestant("OpenAI Agents add_items", "peers.openai_sessions:append", "psycopg"),
    ],
    "W1-step": [Contestant("SQLAlchemy ORM", "peers.sqlalchemy_rows:step", "psycopg")],
    "W2": [
        Contestant("SQLAlchemy Core", "peers.sqlalchemy_rows:ingest", "psycopg executemany"),
        Contestant("LangGraph put_writes", "peers.langgraph_saver:ingest", "psycopg executemany"),
        Contestant(
            "OpenAI Agents add_items", "peers.openai_sessions:ingest", "psycopg executemany"
        ),
    ],
    "W3": [
        Contestant("SQLAlchemy ORM", "peers.sqlalchemy_rows:replay", "psycopg, whole"),
        Contestant("LangGraph list", "peers.langgraph_saver:replay", "psycopg, whole"),
        Contestant("ADK get_session", "peers.adk_sessions:replay", "psycopg, whole"),
        Contestant("OpenAI Agents get_items", "peers.openai_sessions:replay", "psycopg, whole"),
    ],
    "W4": [
        Contestant("SQLAlchemy Core", "peers.sqlalchemy_rows:live", "psycopg"),
        Contestant("LangGraph aput, aput_writes", "peers.langgraph_saver:live", "psycopg"),
        Contestant("DBOS events and steps", "peers.dbos_workflows:live", "psycopg"),
        Contestant("ADK append_event", "peers.adk_sessions:live", "psycopg"),
        Contestant("OpenAI Agents add_items", "peers.openai_sessions:live", "psycopg"),
    ],
}


def contestants(workload: str, interpreters: Mapping[str, Path]) -> list[Contestant]:
    """Return the peers of a workload that are installed, with the interpreter of each."""
    return [
        replace(contestant, python=str(python))
        for contestant in PEERS.get(workload, ())
        for peer, python in interpreters.items()
        if contestant.name.startswith(peer)
    ]
