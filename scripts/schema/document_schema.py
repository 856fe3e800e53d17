"""Write docs/schema.md and docs/queries.md, or say whether they are what would be written."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

import psycopg

from described_queries import described_queries
from migrated_database import migrated_database
from queries_page import queries_page
from runstore.testing import RUNSTORE_VALUES, fill
from schema_page import schema_page

DOCS = Path(__file__).parents[2] / "docs"

# Plans differ from one major version to the next.
VERSION = 18


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a page is stale"
    )
    parser.add_argument(
        "--dsn", help=f"a migrated PostgreSQL {VERSION}; else one is started for the moment"
    )
    arguments = parser.parse_args()
    stale = False
    with migrated_database(arguments.dsn) as dsn:
        pages = _pages(dsn)
    for name, text in pages.items():
        path = DOCS / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == text:
            continue
        stale = True
        if arguments.check:
            difference = difflib.unified_diff(
                found.splitlines(), text.splitlines(), f"docs/{name}", "as it would be", lineterm=""
            )
            print("\n".join(difference))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    return int(stale and arguments.check)


def _pages(dsn: str) -> dict[str, str]:
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        version = conn.info.server_version // 10000
        if version != VERSION:
            raise SystemExit(f"the pages are written on PostgreSQL {VERSION}, not {version}")
        conn.execute("SET LOCAL TIME ZONE 'UTC'")
        fill(conn, "runstore", rows=500, values=RUNSTORE_VALUES)
        queries = described_queries(conn)
        return {
            "schema.md": schema_page(conn, queries),
            "queries.md": queries_page(queries, VERSION),
        }


if __name__ == "__main__":
    sys.exit(main())
