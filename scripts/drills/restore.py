"""Back up a database that is at work, lose it, restore it twice, and prove that it is whole.

From a dump: `pg_dump` while everybody writes, restored into another cluster. To a point in time:
a base backup and the archived WAL, replayed up to the moment before somebody dropped the schema.
Each copy must hold, row by row, what the original held; its logs may have no gap, its counters must
equal their entries, `check_schema` must be content, and the writer's role must be able to write.
Exit status 1: something is not so.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.sql import SQL, Identifier

from clusters import DBNAME, Cluster, create_database, drill_folder, running_cluster
from runstore import (
    NewFeatureRun,
    check_schema,
    complete_feature_run,
    connect,
    create_feature_run,
    transaction,
)
from verdict import miscounts, violations
from workload import Ledger, at_work

ROLES = Path(__file__).parents[1] / "roles.sql"
PATIENCE_SECONDS = 60

Contents = dict[str, tuple[int, str]]
"""For each table, its rows and a digest of all that is in them."""


def contents(conn: Connection[Any]) -> Contents:
    """Return what is in every table, those of the migrations' record included."""
    tables = conn.execute(
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname IN ('runstore', 'public') ORDER BY schemaname, tablename"
    ).fetchall()
    found: Contents = {}
    for schema, table in tables:
        row = conn.execute(
            SQL(
                "SELECT count(*), coalesce(md5(string_agg(line, E'\\n' ORDER BY line)), '')"
                ' FROM (SELECT t::text COLLATE "C" AS line FROM {} AS t) AS lines'
            ).format(Identifier(schema, table))
        ).fetchone()
        assert row is not None
        found[f"{schema}.{table}"] = (row[0], row[1])
    return found


def faults(conn: Connection[Any], expected: Contents, ledger: Ledger | None) -> list[str]:
    """Return what is wrong with a restored database; `ledger` is of work that had ended by then."""
    restored = contents(conn)
    found = [
        f"{table}: {restored.get(table)} was restored, {expected.get(table)} was there"
        for table in sorted(expected.keys() | restored.keys())
        if restored.get(table) != expected.get(table)
    ]
    if not check_schema(conn).ok:
        found.append("the schema is not what this version expects")
    found += violations(conn, ledger) if ledger else miscounts(conn)
    new = NewFeatureRun(name="after the restore")
    with transaction(conn):
        conn.execute("SET LOCAL ROLE runstore_writer")
        create_feature_run(conn, new)
        complete_feature_run(conn, new.id)
    return found


@contextmanager
def timed(what: str) -> Generator[None]:
    """Print how long a block took."""
    start = time.monotonic()
    yield
    print(f"{what:<44} {time.monotonic() - start:>6.2f} s", flush=True)


def dump(cluster: Cluster, file: Path) -> Contents:
    """Dump the database while it is written to, and return what its snapshot held."""
    with connect(cluster.dsn(), autocommit=False) as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        # So that what is compared is of the very snapshot that is dumped.
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        with timed("pg_dump, while everybody writes"):
            cluster.run(
                "pg_dump",
                "--format=custom",
                f"--snapshot={row[0]}",
                f"--file={file}",
                "--dbname",
                cluster.dsn(),
            )
        return contents(conn)


def restore_dump(original: Cluster, copy: Cluster, file: Path) -> None:
    """Restore a dump into a cluster that has nothing yet."""
    roles = file.with_name("roles.sql")
    # Roles are the cluster's, and no dump of a database has them.
    original.run(
        "pg_dumpall", "--roles-only", f"--file={roles}", "--dbname", original.dsn("postgres")
    )
    with psycopg.connect(copy.dsn("postgres"), autocommit=True) as conn:
        lines = roles.read_text(encoding="utf-8").splitlines(keepends=True)
        # The one that made the cluster is there already, and psql alone knows its own commands.
        text = "".join(
            line for line in lines if not line.startswith(("\\", "CREATE ROLE postgres;"))
        )
        conn.execute(text.encode())
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier(DBNAME)))
    with timed("pg_restore, two jobs"):
        copy.run("pg_restore", "--exit-on-error", "--jobs=2", "--dbname", copy.dsn(), str(file))


def archive_wal(cluster: Cluster, archive: Path) -> None:
    """Copy every finished segment of WAL to a folder from now on."""
    cluster.configure(
        archive_mode="on",
        archive_command=f"test ! -f {archive}/%f && cp %p {archive}/%f",
        # A segment that is not full leaves after this long: what a disaster may cost at most.
        archive_timeout="60",
    )
    cluster.restart()


def lose_everything(cluster: Cluster) -> str:
    """Drop the schema, by mistake, and then the machine; return the moment before."""
    moment: str = cluster.query("SELECT clock_timestamp()::text")
    with psycopg.connect(cluster.dsn(), autocommit=True) as conn:
        conn.execute("DROP SCHEMA runstore CASCADE")
    # The segment that has the mistake is archived too, so that the recovery meets it.
    segment: str = cluster.query("SELECT pg_walfile_name(pg_switch_wal())")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (cluster.query("SELECT last_archived_wal FROM pg_stat_archiver") or "") < segment:
        assert time.monotonic() < deadline, "the WAL is not archived"
        time.sleep(0.05)
    cluster.kill_all()
    return moment


def recover(copy: Cluster, archive: Path, moment: str) -> None:
    """Replay the archive on a base backup up to a moment, and return when it may be written to."""
    settings = {
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_time": moment,
        "recovery_target_action": "promote",
        # The archive is the original's.
        "archive_mode": "off",
    }
    with (copy.data_dir / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (copy.data_dir / "recovery.signal").touch()
    with timed("recovery up to the moment before"):
        copy.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while copy.query("SELECT pg_is_in_recovery()"):
            assert time.monotonic() < deadline, "the recovery does not end"
            time.sleep(0.05)


def drill(folder: Path, options: argparse.Namespace) -> list[str]:
    """Back up, lose and restore; return what is wrong with what was restored."""
    archive, dumps = folder / "archive", folder / "dumps"
    ledger = Ledger()
    with running_cluster(folder / "original") as original:
        for path in (archive, dumps):
            path.mkdir()
            shutil.chown(path, original.data_dir.stat().st_uid, original.data_dir.stat().st_gid)
        archive_wal(original, archive)
        create_database(original)
        with psycopg.connect(original.dsn(), autocommit=True) as conn:
            conn.execute(ROLES.read_bytes())
        base = Cluster(folder / "base")
        with at_work(original.dsn(), ledger, options.workers):
            time.sleep(options.seconds)
            dumped = dump(original, dumps / "drill.dump")
            with timed("pg_basebackup, while everybody writes"):
                original.back_up(base)
            time.sleep(options.seconds)
        with connect(original.dsn()) as conn:
            final = contents(conn)
        with running_cluster(folder / "restored") as restored:
            restore_dump(original, restored, dumps / "drill.dump")
            with connect(restored.dsn()) as conn:
                found = [f"dump: {fault}" for fault in faults(conn, dumped, None)]
        moment = lose_everything(original)
    try:
        recover(base, archive, moment)
        with connect(base.dsn()) as conn:
            found += [f"point in time: {fault}" for fault in faults(conn, final, ledger)]
    finally:
        base.stop()
    for name, held in (("the dump", dumped), ("the point in time", final)):
        rows = sum(count for count, _ in held.values())
        print(f"{name} has {len(held)} tables and {rows} rows")
        if rows < options.workers:
            found.append(f"{name}: too little was written to prove anything")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="restore-drill", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of work before and after backups")
    parser.add_argument("--workers", type=int, default=4)
    with drill_folder() as folder:
        found = drill(folder, parser.parse_args())
    for fault in found:
        print(f"WRONG: {fault}", file=sys.stderr)
    print("not whole" if found else "both copies are whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
