"""Charts, drawn by pygal as SVG whose colors are the page's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

_finders = list(sys.meta_path)
import pygal  # noqa: E402
from pygal.style import Style  # noqa: E402

# pygal looks for plugins of its own by a finder of the form that Python 3.12 no longer asks, and
# of which 3.11 warns at every import that comes later. Nothing here has such a plugin.
sys.meta_path[:] = [
    finder
    for finder in sys.meta_path
    if finder in _finders or type(finder).__name__ != "PluginImportFixer"
]

# The page's style sheet says what these are, in light and in dark.
_COLORS: Final = tuple(f"var(--series-{number})" for number in range(1, 9))
_STYLE: Final = Style(
    background="transparent",
    plot_background="transparent",
    foreground="var(--text)",
    foreground_strong="var(--text)",
    foreground_subtle="var(--quiet)",
    guide_stroke_color="var(--line)",
    major_guide_stroke_color="var(--line)",
    guide_stroke_dasharray="0",
    major_guide_stroke_dasharray="0",
    colors=_COLORS,
    font_family="inherit",
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=13,
    opacity="1",
    transition="0s",
)
_MOST_SERIES: Final = len(_COLORS)
_MOST_LABELS: Final = 16

Series = tuple[str, Sequence[float | None]]


@dataclass(frozen=True)
class Chart:
    """A drawing, and the names and colors of its series."""

    svg: Markup
    legend: list[tuple[str, str]]


def stacked_bars(labels: Sequence[str], series: Mapping[str, Sequence[float | None]]) -> Chart:
    """Draw bars of several series on top of each other, one bar for each label.

    The smallest series are drawn together as "3 others" when there are more than the colors.
    """
    chart = pygal.StackedBar(
        style=_STYLE,
        js=[],
        disable_xml_declaration=True,
        no_prefix=True,
        pretty_print=False,
        width=900,
        height=280,
        margin=8,
        # The page writes the legend: as text, it breaks where a narrow screen needs it to.
        show_legend=False,
        rounded_bars=2,
        truncate_label=-1,
        x_labels_major_count=8,
        show_minor_x_labels=len(labels) <= _MOST_LABELS,
        value_formatter=short_number,
    )
    chart.x_labels = list(labels)
    drawn = _largest(series)
    for name, values in drawn:
        chart.add(name, list(values))
    # Made by pygal, which escapes what it was given.
    svg = Markup(chart.render(is_unicode=True))  # noqa: S704
    return Chart(svg, list(zip((name for name, _ in drawn), _COLORS, strict=False)))


def _largest(series: Mapping[str, Sequence[float | None]]) -> list[Series]:
    if len(series) <= _MOST_SERIES:
        return list(series.items())
    ranked = sorted(series.items(), key=lambda each: -sum(value or 0 for value in each[1]))
    others = [values for _, values in ranked[_MOST_SERIES - 1 :]]
    sums = [sum(value or 0 for value in column) for column in zip(*others, strict=True)]
    # Beside the others, and not keyed by name: a series may have whatever name they get.
    return [*ranked[: _MOST_SERIES - 1], (f"{len(others)} others", sums)]


def short_number(value: float | None) -> str:
    """Write a number in three digits and a unit."""
    if value is None:
        return ""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What is written in three digits as 1000 of a unit is one of the next.
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}" if value % 1 else f"{value:.0f}"
