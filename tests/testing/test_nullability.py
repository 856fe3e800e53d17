"""What is called not null holds no NULL: every way that is known to get one in is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runstore.testing._catalogue import Catalogue
from runstore.testing._describe import describe
from runstore.testing._nullability import Nullability, nullabilities

# left_rows has 1 and 2, right_rows only 1; other_rows has NULLs in a column of that name.
SCHEMA = """
CREATE SCHEMA nulls;
SET LOCAL search_path = nulls;
CREATE TABLE left_rows (id integer PRIMARY KEY, n integer);
CREATE TABLE right_rows (id integer PRIMARY KEY, n integer);
INSERT INTO left_rows VALUES (1, 1), (2, NULL);
INSERT INTO right_rows VALUES (1, NULL);
CREATE VIEW seen_rows AS SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id);
CREATE FUNCTION all_rows() RETURNS SETOF right_rows LANGUAGE sql AS
    'SELECT right_rows FROM nulls.left_rows LEFT JOIN nulls.right_rows USING (id)';
CREATE TABLE parts (id integer NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE first_parts PARTITION OF parts FOR VALUES FROM (0) TO (10);
INSERT INTO parts VALUES (1);
CREATE DOMAIN sure AS integer NOT NULL;
CREATE TABLE unsure (value sure);
INSERT INTO unsure VALUES ((SELECT value FROM unsure WHERE false));
CREATE TABLE ruled (id integer NOT NULL);
CREATE RULE ruled_insert AS ON INSERT TO ruled DO INSTEAD
    INSERT INTO right_rows (id) VALUES (new.id) RETURNING NULL::integer;
CREATE TABLE parents (id integer NOT NULL);
CREATE TABLE children () INHERITS (parents);
"""

Conn = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def nulls(shared_owner_dsn: str) -> Iterator[Conn]:
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        conn.execute(SCHEMA.encode())
        if conn.info.server_version < 180000:
            conn.execute("ALTER TABLE children ALTER COLUMN id DROP NOT NULL")
            conn.execute("INSERT INTO children VALUES (NULL)")
        else:
            conn.execute("INSERT INTO right_rows VALUES (5)")
            conn.execute(
                """
                CREATE TABLE late (id integer);
                INSERT INTO late VALUES (NULL);
                ALTER TABLE late ADD CONSTRAINT late_id_check NOT NULL id NOT VALID;
                CREATE TABLE computed (
                    id integer, half integer GENERATED ALWAYS AS (id / 2) VIRTUAL NOT NULL
                );
                """
            )
        yield conn


def verdicts(conn: Conn, text: str) -> list[Nullability]:
    return nullabilities(describe(conn, Catalogue(conn), text), text)


NULLS = {
    "left": "SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id)",
    "right": "SELECT right_rows.id FROM right_rows RIGHT JOIN left_rows USING (id)",
    "full": """
        SELECT right_rows.id FROM right_rows FULL JOIN (VALUES (7)) AS x (y) ON right_rows.id = x.y
    """,
    "anti": """
        SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id)
        WHERE right_rows.id IS NULL
    """,
    "never true": "SELECT right_rows.id FROM left_rows LEFT JOIN right_rows ON false",
    "never true, of itself": "SELECT b.id FROM left_rows AS a LEFT JOIN left_rows AS b ON false",
    "of itself": "SELECT b.id FROM left_rows AS a LEFT JOIN left_rows AS b ON a.n = b.id",
    "never true, partitioned": "SELECT parts.id FROM left_rows LEFT JOIN parts ON false",
    "partitioned": "SELECT parts.id FROM left_rows LEFT JOIN parts USING (id)",
    "on a value": "SELECT left_rows.id FROM (VALUES (9)) AS x (y) LEFT JOIN left_rows ON id = y",
    "lateral": """
        SELECT found.id FROM left_rows LEFT JOIN LATERAL (
            SELECT right_rows.id FROM right_rows WHERE right_rows.id = left_rows.id LIMIT 1
        ) AS found ON true
    """,
    "in a CTE": """
        WITH joined AS MATERIALIZED (
            SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id)
        ) SELECT joined.id FROM joined
    """,
    "a CTE on its side": """
        WITH one AS MATERIALIZED (SELECT id FROM right_rows)
        SELECT one.id FROM left_rows LEFT JOIN one USING (id)
    """,
    "a CTE in a CTE on its side": """
        WITH inner_one AS MATERIALIZED (SELECT id FROM right_rows),
        one AS MATERIALIZED (SELECT id FROM inner_one)
        SELECT one.id FROM left_rows LEFT JOIN one USING (id)
    """,
    "a CTE, read twice": """
        WITH one AS MATERIALIZED (SELECT id FROM right_rows)
        SELECT b.id FROM left_rows
        LEFT JOIN one AS b ON left_rows.id = b.id
        WHERE EXISTS (SELECT FROM one)
    """,
    "a subquery": """
        SELECT s.id FROM (
            SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id)
        ) AS s
    """,
    "a whole row": """
        SELECT (s.r).id FROM (
            SELECT right_rows AS r FROM left_rows LEFT JOIN right_rows USING (id)
        ) AS s
    """,
    "rollup": "SELECT id FROM left_rows GROUP BY ROLLUP (id)",
    "cube": "SELECT s.id FROM (SELECT id FROM left_rows GROUP BY CUBE (id)) AS s",
    "grouping sets": "SELECT id FROM left_rows GROUP BY GROUPING SETS ((id), ())",
    "union": "SELECT id FROM left_rows UNION ALL SELECT n FROM left_rows",
    "union in a CTE": """
        WITH x AS (SELECT id FROM left_rows UNION SELECT n FROM left_rows) SELECT x.id FROM x
    """,
    "intersect": "SELECT n FROM left_rows INTERSECT SELECT n FROM right_rows",
    "recursive": """
        WITH RECURSIVE x AS (
            SELECT id, 1 AS depth FROM left_rows
            UNION ALL
            SELECT NULL::integer, depth + 1 FROM x WHERE depth < 2
        ) SELECT x.id FROM x
    """,
    "subselect": "SELECT (SELECT id FROM left_rows WHERE id = 99)",
    "aggregate": "SELECT max(id) FROM left_rows WHERE id = 99",
    "nullable": "SELECT n FROM left_rows",
    "view": "SELECT id FROM seen_rows",
    "function": "SELECT found.id FROM all_rows() AS found",
    "domain": "SELECT value FROM unsure",
    "rule": "INSERT INTO ruled (id) VALUES (31) RETURNING id",
    "updated from": """
        UPDATE left_rows SET n = 5 FROM left_rows AS a LEFT JOIN right_rows AS b USING (id)
        WHERE left_rows.id = a.id RETURNING b.id
    """,
    "updated from itself": """
        UPDATE left_rows SET n = 5 FROM left_rows AS a LEFT JOIN left_rows AS b ON a.n = b.id
        WHERE left_rows.id = a.id RETURNING b.id
    """,
}

OLDER_NULLS = {"inherited": "SELECT id FROM parents"}

NEWER_NULLS = {
    "old of an insert": "INSERT INTO left_rows VALUES (40) RETURNING old.id",
    "old by another name": """
        INSERT INTO left_rows VALUES (41) RETURNING WITH (OLD AS was) was.id
    """,
    "old in quotes": 'INSERT INTO left_rows VALUES (42) RETURNING "old".id',
    "old behind a string": """
        INSERT INTO left_rows VALUES (length(E'it\\'s') + 40) RETURNING old.id, E'\\''
    """,
    "new of a delete": "DELETE FROM left_rows RETURNING new.id",
    "not valid": "SELECT id FROM late",
}


def assert_sound(conn: Conn, text: str) -> None:
    found = verdicts(conn, text)
    with conn.transaction(force_rollback=True):
        rows = conn.execute(text.encode()).fetchall()
    assert any(None in row for row in rows), "the example has no NULL"
    assert all(reason.reason for reason in found)


@pytest.mark.parametrize("name", NULLS)
def test_what_may_be_null(nulls: Conn, name: str) -> None:
    assert_sound(nulls, NULLS[name])


@pytest.mark.parametrize("join", ["nestloop", "hashjoin", "mergejoin"])
@pytest.mark.parametrize("name", ["left", "right", "anti", "a CTE on its side", "of itself"])
def test_what_may_be_null_by_any_kind_of_join(nulls: Conn, name: str, join: str) -> None:
    with nulls.transaction(force_rollback=True):
        for kind in ("nestloop", "hashjoin", "mergejoin"):
            value = "on" if kind == join else "off"
            nulls.execute("SELECT set_config(%s, %s, true)", (f"enable_{kind}", value))
        assert_sound(nulls, NULLS[name])


@pytest.mark.parametrize("name", [*OLDER_NULLS, *NEWER_NULLS])
def test_what_may_be_null_on_some_versions(nulls: Conn, name: str) -> None:
    newer = nulls.info.server_version >= 180000
    if newer != (name in NEWER_NULLS):
        pytest.skip("the example is of another version of PostgreSQL")
    assert_sound(nulls, {**OLDER_NULLS, **NEWER_NULLS}[name])


def test_a_merge(nulls: Conn) -> None:
    if nulls.info.server_version < 170000:
        pytest.skip("MERGE has RETURNING since PostgreSQL 17")
    assert_sound(
        nulls,
        """
        MERGE INTO right_rows USING (VALUES (77)) AS x (id) ON right_rows.id = x.id
        WHEN NOT MATCHED BY SOURCE THEN DELETE
        RETURNING x.id
        """,
    )


def test_a_column_that_is_computed_on_reading(nulls: Conn) -> None:
    if nulls.info.server_version < 180000:
        pytest.skip("PostgreSQL 18 brought virtual columns")
    # The constraint holds for what was written; the expression is computed anew each time.
    [found] = verdicts(nulls, "SELECT half FROM computed")
    assert found.reason


NEVER_NULL = {
    "a key": "SELECT id FROM left_rows",
    "by a parameter": "SELECT id FROM left_rows WHERE id = %(id)s",
    "partitioned": "SELECT id FROM parts",
    "the kept side": "SELECT left_rows.id FROM left_rows LEFT JOIN right_rows USING (id)",
    "inner": "SELECT right_rows.id FROM left_rows INNER JOIN right_rows USING (id)",
    "an outer join that a condition makes an inner one": """
        SELECT right_rows.id FROM left_rows LEFT JOIN right_rows USING (id)
        WHERE right_rows.id > %(id)s
    """,
    "semi": """
        SELECT id FROM left_rows WHERE EXISTS (SELECT FROM right_rows WHERE id = left_rows.id)
    """,
    "the kept side of an anti join": """
        SELECT id FROM left_rows WHERE NOT EXISTS (SELECT FROM right_rows WHERE id = left_rows.id)
    """,
    "grouped": "SELECT id FROM left_rows GROUP BY id",
    "a CTE": "WITH x AS MATERIALIZED (SELECT id FROM left_rows) SELECT x.id FROM x",
    "written in a CTE": """
        WITH x AS (UPDATE left_rows SET n = 1 RETURNING id) SELECT x.id FROM x
    """,
    "inserted": "INSERT INTO left_rows (id) VALUES (%(id)s) RETURNING id",
    "inserted unless it is there": """
        INSERT INTO left_rows (id)
        SELECT id FROM right_rows
        WHERE NOT EXISTS (SELECT FROM left_rows WHERE left_rows.id = right_rows.id)
        RETURNING id
    """,
    "updated": "UPDATE left_rows SET n = 1 WHERE id = %(id)s RETURNING id",
    "deleted": "DELETE FROM left_rows WHERE id = %(id)s RETURNING id",
}


@pytest.mark.parametrize("name", NEVER_NULL)
def test_what_is_never_null(nulls: Conn, name: str) -> None:
    assert verdicts(nulls, NEVER_NULL[name]) == [Nullability(None)]


def test_a_column_may_be_null_for_its_join_alone(nulls: Conn) -> None:
    text = "SELECT r.id, r.n FROM left_rows LEFT JOIN right_rows AS r USING (id)"
    assert [found.joined for found in verdicts(nulls, text)] == [True, False]


def test_words_in_comments_and_strings_are_no_rows(nulls: Conn) -> None:
    text = "SELECT id /* the old one */ FROM left_rows WHERE 'new' <> '' -- old"
    assert verdicts(nulls, text) == [Nullability(None)]
