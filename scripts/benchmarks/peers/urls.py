"""The URLs by which SQLAlchemy finds a database."""

from __future__ import annotations


def sqlalchemy_url(dsn: str, driver: str) -> str:
    """Return the URL of a DSN's database for a driver: psycopg or asyncpg."""
    return dsn.replace("postgresql://", f"postgresql+{driver}://", 1)
