"""The table of a measurement, and its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from contestants import Contestant, Sample
from databases import Commits
from rounds import Round, Turn


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Row:
    """What a contestant cost for each operation, and in relation to another one.

    Times are in microseconds and medians of the rounds. A ratio is taken within each round.
    """

    workload: str
    commits: Commits
    name: str
    against: str | None
    rounds: int
    cpu_us: float
    wall_us: float
    cpu_ratio: Spread | None
    wall_ratio: Spread | None
    bar: float | None
    wall_bar: float | None
    statements: float
    execution_us: float
    wal_bytes: float

    @property
    def missed(self) -> bool:
        """Whether it cost more than it may."""
        return _missed(self.cpu_ratio, self.bar) or _missed(self.wall_ratio, self.wall_bar)


def summed_up(
    workload: str, commits: Commits, contestants: Sequence[Contestant], rounds: Sequence[Round]
) -> list[Row]:
    """Return a row for each contestant of a workload that took part in every round."""
    return [
        _row(workload, commits, contestant, rounds)
        for contestant in contestants
        if all(contestant.name in played for played in rounds)
    ]


def _row(workload: str, commits: Commits, contestant: Contestant, rounds: Sequence[Round]) -> Row:
    turns = [played[contestant.name] for played in rounds]
    against = contestant.against
    others = None if against is None else [played[against] for played in rounds]
    return Row(
        workload=workload,
        commits=commits,
        name=contestant.name,
        against=against,
        rounds=len(rounds),
        cpu_us=_median(turns, lambda turn: turn.sample.cpu) * 1e6,
        wall_us=_median(turns, lambda turn: turn.sample.wall) * 1e6,
        cpu_ratio=_ratio(turns, others, lambda sample: sample.cpu),
        wall_ratio=_ratio(turns, others, lambda sample: sample.wall),
        bar=contestant.bar,
        wall_bar=contestant.wall_bar,
        statements=_median(turns, lambda turn: turn.server.statements),
        execution_us=_median(turns, lambda turn: turn.server.execution) * 1e6,
        wal_bytes=_median(turns, lambda turn: turn.server.wal),
    )


def _median(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> float:
    """Return the median of a figure for one operation."""
    return median(figure(turn) / turn.sample.operations for turn in turns)


def _ratio(
    turns: Sequence[Turn], others: Sequence[Turn] | None, figure: Callable[[Sample], float]
) -> Spread | None:
    if others is None:
        return None
    ratios = [
        (figure(turn.sample) / turn.sample.operations)
        / (figure(other.sample) / other.sample.operations)
        for turn, other in zip(turns, others, strict=True)
    ]
    if len(ratios) == 1:
        return Spread(ratios[0], ratios[0], ratios[0])
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Spread(middle, low, high)


HEADER = (
    "",
    "CPU us",
    "CPU ratio (quartiles)",
    "bar",
    "wall us",
    "wall ratio (quartiles)",
    "bar",
    "statements",
    "server us",
    "WAL bytes",
)


def table(rows: Sequence[Row]) -> str:
    """Return the rows of one workload as a Markdown table; a bar that is missed stands out."""
    lines = [HEADER, ("---", *("---:" for _ in HEADER[1:]))]
    lines += [
        (
            row.name,
            f"{row.cpu_us:,.1f}",
            str(row.cpu_ratio or 1),
            _bar(row.cpu_ratio, row.bar),
            f"{row.wall_us:,.1f}",
            str(row.wall_ratio or 1),
            _bar(row.wall_ratio, row.wall_bar),
            f"{row.statements:,.3f}",
            f"{row.execution_us:,.1f}",
            f"{row.wal_bytes:,.0f}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _missed(ratio: Spread | None, bar: float | None) -> bool:
    return ratio is not None and bar is not None and ratio.median > bar


def _bar(ratio: Spread | None, bar: float | None) -> str:
    if bar is None:
        return ""
    return f"**{bar:.2f}**" if _missed(ratio, bar) else f"{bar:.2f}"
