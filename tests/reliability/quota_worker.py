"""A worker that reserves and settles, to be killed: prints what it was told."""

from __future__ import annotations

import random
import sys

import psycopg

from runstore import NewReservation, QuotaExceeded, release_usage, reserve_usage, settle_usage


def main() -> None:
    dsn, subject, seed = sys.argv[1:]
    choose = random.Random(seed)
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            amounts = {"tokens": choose.randint(1, 9), "runs": 1}
            data = NewReservation(subject_id=subject, amounts=amounts)
            try:
                reserve_usage(conn, data)
            except QuotaExceeded:
                continue
            say("held", data)
            if choose.random() < 0.8:
                settle_usage(conn, data.id, amounts)
                say("settled", data)
            elif choose.random() < 0.5:
                release_usage(conn, data.id)
                say("released", data)


def say(what: str, data: NewReservation) -> None:
    # One write for each line: a line that arrives is whole.
    sys.stdout.write(f"{what} {data.id} {data.amounts['tokens']}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
