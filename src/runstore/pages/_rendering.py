"""Templates filled with values: everything is escaped, and only the page's own script may run."""

from __future__ import annotations

import base64
import functools
import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ._charts import short_number

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SECOND: Final = 1000
_MINUTE: Final = 60
_HOUR: Final = 3600
_BRIEF: Final = 160


def render(template: str, **values: Any) -> str:
    """Fill a template."""
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(template)
        .render(
            # Files of this package, which hold no input.
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_hash=digest,
            version=version("runstore"),
            made_at=datetime.now(UTC),
            **values,
        )
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "json": json_text,
        "brief": brief,
        "seconds": duration,
        "moment": moment,
        "number": number,
        "short_number": short_number,
        "usd": usd,
    }
    return environment


def json_text(value: object) -> str:
    """Write a payload for people: a text as it is, everything else as indented JSON."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def brief(value: object, longest: int = _BRIEF) -> str:
    """Write a payload on one line, cut off where it is too long."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def duration(seconds: float | None) -> str:
    """Write a duration with the unit that suits it."""
    if seconds is None:
        return "not ended"
    # Rounded before its unit is chosen: no minute has 60 seconds.
    if (milliseconds := round(seconds * 1000)) < _SECOND:
        return f"{milliseconds} ms"
    if (tenths := round(seconds, 1)) < _MINUTE:
        return f"{tenths:.1f} s"
    if (whole := round(seconds)) < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // _MINUTE} h {minutes % _MINUTE} min"


def moment(time: datetime | None) -> str:
    """Write a time in UTC, to the second."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def number(value: int | None) -> str:
    """Write a number with its thousands apart; nothing where it was not reported."""
    return "" if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def usd(value: Decimal | float | None) -> str:
    """Write a sum of money, two digits of it however small; nothing where it is unpriced."""
    if value is None:
        return ""
    sign, size = "-" if value < 0 else "", abs(Decimal(str(value)))
    places = 2 if size >= 1 or size == 0 else max(4, 1 - size.adjusted())
    return f"{sign}${size:,.{places}f}"
