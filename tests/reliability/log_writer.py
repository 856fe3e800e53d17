"""A writer of one run's log, to be killed: says what was acknowledged on its standard output."""

from __future__ import annotations

import os
import sys
from uuid import UUID

from runstore import NewRunEvent, append_run_events, connect


def main() -> None:
    dsn, run_id, writer = sys.argv[1], UUID(sys.argv[2]), sys.argv[3]
    with connect(dsn, pooler="RUNSTORE_TEST_POOLER" in os.environ) as conn:
        number = 0
        while True:
            size = 1 + number % 7
            events = [
                NewRunEvent(type="token", payload={"writer": writer, "n": number + place})
                for place in range(size)
            ]
            last = append_run_events(conn, run_id, events)
            # One write per line: a line that arrives is whole.
            sys.stdout.write(f"{last} {number} {size}\n")
            sys.stdout.flush()
            number += size


if __name__ == "__main__":
    main()
