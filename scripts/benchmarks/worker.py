"""The process of one contestant: a sample for each line that it is sent."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from typing import cast

from contestants import Opening, Sizes


def main() -> None:
    place, dsn, sizes = sys.argv[1:]
    # What a contestant prints is no answer of ours.
    answers, sys.stdout = sys.stdout, sys.stderr
    module, _, opening = place.partition(":")
    open_contestant = cast(Opening, getattr(importlib.import_module(module), opening))
    with open_contestant(dsn, Sizes(**json.loads(sizes))) as sample:
        # The first one finds no plans, no prepared statements and cold caches.
        sample()
        print(json.dumps("ready"), file=answers, flush=True)
        for _ in sys.stdin:
            print(json.dumps(asdict(sample())), file=answers, flush=True)


if __name__ == "__main__":
    main()
