"""What is written: events and steps of about 500 bytes, as an agent's are."""

from __future__ import annotations

import random
from typing import Any

PHASES = ("plan", "design", "build", "test", "review", "release")
LIFE = 18
"""The operations of a run's life: created, an invocation, 5 phases, 10 tool calls, completed."""

KINDS = ("message", "tool_call", "tool_result", "thought")
WORDS = [
    "the",
    "agent",
    "reads",
    "a",
    "file",
    "and",
    "finds",
    "that",
    "its",
    "test",
    "fails",
    "because",
    "of",
    "a",
    "missing",
    "import",
    "so",
    "it",
    "opens",
    "an",
    "editor",
    "writes",
    "three",
    "lines",
    "runs",
    "all",
    "tests",
    "again",
    "and",
    "reports",
    "what",
    "it",
    "has",
    "changed",
]


def payload(number: int) -> dict[str, Any]:
    """Return one payload; the same number gives the same one."""
    chosen = random.Random(number)
    return {
        "role": "assistant",
        "content": " ".join(chosen.choices(WORDS, k=50)),
        "tool_calls": [
            {
                "id": f"call_{number:08}",
                "name": chosen.choice(("shell", "search", "edit")),
                "arguments": {
                    "path": f"src/module_{number % 97}.py",
                    "line": chosen.randrange(400),
                },
            }
        ],
        "usage": {"input_tokens": chosen.randrange(9000), "output_tokens": chosen.randrange(900)},
    }


def events(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Return so many pairs of a type and a payload."""
    return [(KINDS[number % len(KINDS)], payload(number)) for number in range(count)]
