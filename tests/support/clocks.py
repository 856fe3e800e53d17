"""A clock that is set."""

from __future__ import annotations

from datetime import datetime

from connections import Caller


def set_clock(call: Caller, at: datetime) -> None:
    """Have the statements of this transaction take place at a time.

    Time is `statement_timestamp()` to the statements that count in windows, which do not say in
    which schema it is. Whoever makes a schema is the owner.
    """
    call.execute("CREATE SCHEMA IF NOT EXISTS clock")
    call.execute(
        "CREATE OR REPLACE FUNCTION clock.statement_timestamp() RETURNS timestamptz"
        " LANGUAGE sql STABLE AS $$ SELECT current_setting('clock.now')::timestamptz $$"
    )
    call.execute("SET LOCAL search_path = clock, pg_catalog")
    call.execute("SELECT set_config('clock.now', %s, true)", (at.isoformat(),))
