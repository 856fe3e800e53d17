from collections.abc import Callable, Sequence

from .style import Style

class StackedBar:
    x_labels: Sequence[str]
    def __init__(
        self,
        *,
        style: Style,
        js: Sequence[str],
        disable_xml_declaration: bool,
        no_prefix: bool,
        pretty_print: bool,
        width: int,
        height: int,
        margin: int,
        show_legend: bool,
        rounded_bars: int,
        truncate_label: int,
        x_labels_major_count: int,
        show_minor_x_labels: bool,
        value_formatter: Callable[[float | None], str],
    ) -> None: ...
    def add(self, title: str, values: Sequence[float | None]) -> None: ...
    def render(self, *, is_unicode: bool) -> str: ...
