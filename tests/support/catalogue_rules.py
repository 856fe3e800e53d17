"""The rules that everything in the schema keeps, read from PostgreSQL's catalogue.

Each of them names what breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, Final

from psycopg import Connection

from runstore.errors import FOREIGN_KEYS, RESTRICTING_KEYS

Rule = Callable[[Connection[Any]], set[str]]

# Columns whose name says what they mean. `id` is not among them: who makes it has to be said.
OBVIOUS: Final = {
    "archived_at",
    "arguments",
    "branch_id",
    "content",
    "created_at",
    "discarded_at",
    "error",
    "finished_at",
    "heading",
    "input",
    "invocation_id",
    "merged_at",
    "output",
    "payload",
    "phase",
    "published_at",
    "quota_id",
    "report_id",
    "resolved_at",
    "result",
    "run_id",
    "sandbox_id",
    "started_at",
    "step_id",
    "summary",
    "tenant_id",
    "terminated_at",
    "title",
    "updated_at",
}

# Tables whose columns mean what the columns of that name mean in another one.
COPIES: Final = {
    "branch_sections": "report_sections",
    "report_version_sections": "report_sections",
    "report_versions": "reports",
    "usage_counters": "quotas",
    "usage_reservations": "usage_logs",
}

# What is counted within one parent, and never as far as an integer reaches.
COUNTS: Final = {
    "append_size",
    "attempt",
    "base_version",
    "last_position",
    "position",
    "published_version",
    "replaced_version",
    "section_version",
    "version",
}

# The last word of a constraint's name, by pg_constraint.contype.
_KINDS: Final = {"f": "fkey", "u": "key", "x": "excl", "n": "not_null"}


def lies_in_the_schema(conn: Connection[Any]) -> set[str]:
    rows = conn.execute(
        """
        SELECT relname FROM pg_class
        WHERE oid >= 16384
            AND relnamespace NOT IN ('runstore'::regnamespace, 'pg_toast'::regnamespace)
            AND relname !~ '^_?yoyo_'
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE oid >= 16384 AND pronamespace <> 'runstore'::regnamespace
        UNION ALL
        SELECT nspname FROM pg_namespace
        WHERE oid >= 16384 AND nspname <> 'runstore'
        """
    )
    return {row[0] for row in rows}


def says_what_it_is(conn: Connection[Any]) -> set[str]:
    """Schemas, tables and functions have comments."""
    rows = conn.execute(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'runstore'::regnamespace
            AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
            AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'runstore'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        UNION ALL
        SELECT 'runstore' WHERE obj_description('runstore'::regnamespace, 'pg_namespace') IS NULL
        """
    )
    return {row[0] for row in rows}


def _columns(conn: Connection[Any]) -> list[tuple[str, str, str, bool, str | None]]:
    """Answer the table, name, type, "is it an enum or a sequence's", and comment of each column."""
    return conn.execute(
        """
        SELECT
            relname,
            attname,
            format_type(atttypid, atttypmod),
            typtype = 'e'
            OR attidentity <> ''
            OR coalesce(pg_get_expr(adbin, adrelid) LIKE 'nextval(%', false),
            col_description(attrelid, attnum)
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'runstore'::regnamespace
            AND relkind IN ('r', 'p', 'v', 'm', 'f')
            AND attnum > 0
            AND NOT attisdropped
        """
    ).fetchall()


def says_what_its_columns_mean(conn: Connection[Any]) -> set[str]:
    """A column has a comment, unless its name is obvious or it is the copy of one that has."""
    columns = _columns(conn)
    said = {(table, name) for table, name, *_, comment in columns if comment}
    return {
        f"{table}.{name}"
        for table, name, *_ in columns
        if name not in OBVIOUS and not {(table, name), (COPIES.get(table), name)} & said
    }


def has_types_that_last(conn: Connection[Any]) -> set[str]:
    """A time has a zone; a text has a CHECK and no length; JSON is jsonb.

    A set of words is a CHECK and no enum. A number is a bigint, unless it counts few things, and
    comes from no sequence: what is counted is counted per run.
    """
    return {
        f"{table}.{name}"
        for table, name, type, is_special, _ in _columns(conn)
        if is_special
        or "without time zone" in type
        or type.startswith(("time ", "json[", "character", "money", "smallint", "real"))
        or type == "json"
        or (type == "integer" and name not in COUNTS)
    }


def says_what_a_delete_does(conn: Connection[Any]) -> set[str]:
    """A foreign key has an ON DELETE; NO ACTION is what is there when nothing was said."""
    rows = conn.execute(
        """
        SELECT conname FROM pg_constraint
        WHERE connamespace = 'runstore'::regnamespace AND contype = 'f' AND confdeltype = 'a'
        """
    )
    return {row[0] for row in rows}


def has_an_index_for_each_foreign_key(conn: Connection[Any]) -> set[str]:
    """An index serves when it starts with the key's columns, in any order.

    It may be partial where it leaves out nothing but rows without the key.
    """
    rows = conn.execute(
        """
        SELECT conname
        FROM pg_constraint
        WHERE connamespace = 'runstore'::regnamespace
            AND contype = 'f'
            AND NOT EXISTS (
                SELECT FROM pg_index
                WHERE indrelid = conrelid
                    AND indisvalid
                    AND (
                        SELECT array_agg(attnum ORDER BY attnum)
                        FROM unnest(indkey[0:cardinality(conkey) - 1]) AS attnum
                    ) = (SELECT array_agg(attnum ORDER BY attnum) FROM unnest(conkey) AS attnum)
                    AND (
                        indpred IS NULL
                        OR EXISTS (
                            SELECT FROM pg_attribute
                            WHERE attrelid = conrelid
                                AND attnum = ANY(conkey)
                                AND pg_get_expr(indpred, indrelid)
                                = '(' || quote_ident(attname) || ' IS NOT NULL)'
                        )
                    )
            )
        """
    )
    return {row[0] for row in rows}


def is_known_to_the_library(conn: Connection[Any]) -> set[str]:
    """What `runstore.errors` says of a foreign key: who deletes meets one that restricts."""
    rows = conn.execute(
        """
        SELECT conname, confdeltype = 'r' FROM pg_constraint
        WHERE connamespace = 'runstore'::regnamespace AND contype = 'f'
        """
    )
    found = {(name, restricts) for name, restricts in rows}
    known = {(name, False) for name in FOREIGN_KEYS} | {(name, True) for name in RESTRICTING_KEYS}
    return {name for name, _ in found ^ known}


def names_constraints_for_their_columns(conn: Connection[Any]) -> set[str]:
    """A constraint is `<table>_<columns>_<kind>`; a CHECK may leave out columns."""
    rows = conn.execute(
        """
        SELECT
            conname,
            relname,
            contype,
            ARRAY(
                SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (attnum, place)
                JOIN pg_attribute USING (attnum)
                WHERE attrelid = conrelid
                ORDER BY place
            )
        FROM pg_constraint
        JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = 'runstore'::regnamespace
        """
    )
    wrong: set[str] = set()
    for name, table, kind, columns in rows:
        if kind == "c":
            right = {f"{table}_{choice}_check" for choice in _choices(columns)}
        elif kind == "p":
            right = {f"{table}_pkey"}
        else:
            right = {f"{table}_{'_'.join(columns)}_{_KINDS[kind]}"}
        wrong |= {name} - right
    return wrong


def _choices(columns: list[str]) -> set[str]:
    """Join every choice of columns, in their order."""
    return {
        "_".join(chosen)
        for size in range(1, len(columns) + 1)
        for chosen in combinations(columns, size)
    }


def checks_by_functions_of_the_server(conn: Connection[Any]) -> set[str]:
    """A CHECK is planned anew by each INSERT, and with it the body of a function of ours."""
    rows = conn.execute(
        """
        SELECT conname FROM pg_constraint
        JOIN pg_depend ON classid = 'pg_constraint'::regclass AND objid = pg_constraint.oid
        JOIN pg_proc ON refclassid = 'pg_proc'::regclass AND refobjid = pg_proc.oid
        WHERE connamespace = 'runstore'::regnamespace AND contype = 'c'
        """
    )
    return {row[0] for row in rows}


def names_indexes_for_their_columns(conn: Connection[Any]) -> set[str]:
    """An index is `<table>_<columns>_idx`, or `_key`; a partial one may say of which rows."""
    rows = conn.execute(
        """
        SELECT
            pg_class.relname,
            tables.relname,
            indisunique,
            indpred IS NOT NULL,
            ARRAY(
                SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS key (attnum, place)
                JOIN pg_attribute USING (attnum)
                WHERE attrelid = indrelid AND place <= indnkeyatts
                ORDER BY place
            )
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid
        JOIN pg_class AS tables ON tables.oid = indrelid
        WHERE pg_class.relnamespace = 'runstore'::regnamespace
            AND NOT EXISTS (
                SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f'
            )
        """
    )
    wrong: set[str] = set()
    for name, table, unique, partial, columns in rows:
        stem, kind = "_".join([table, *columns]), "key" if unique else "idx"
        qualified = partial and name.startswith(f"{stem}_") and name.endswith(f"_{kind}")
        if name != f"{stem}_{kind}" and not qualified:
            wrong.add(name)
    return wrong


RULES: Final[tuple[Rule, ...]] = (
    lies_in_the_schema,
    says_what_it_is,
    says_what_its_columns_mean,
    has_types_that_last,
    says_what_a_delete_does,
    has_an_index_for_each_foreign_key,
    is_known_to_the_library,
    checks_by_functions_of_the_server,
    names_constraints_for_their_columns,
    names_indexes_for_their_columns,
)
