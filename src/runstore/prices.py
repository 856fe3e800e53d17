"""Prices: what one unit of a meter of a model costs, and what usage comes to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from . import _sql
from ._models import Input, Key, Moment, Page, Row
from ._pages import page
from ._query import Statement, Steps, query, reads
from ._statements import get, one
from ._usage import SignedAmounts, UsageContext
from .errors import Conflict

_SQL: Final = _sql.load("prices")
_PRICE: Final = "price"


class Price(Row):
    """What one unit of a meter costs from a time on, in 1e-9 USD, fractions included."""

    provider: str
    model: str
    meter: str
    valid_from: datetime
    price: Decimal
    created_at: datetime


class NewPrice(Input):
    """A price to set. `price` is that of one unit in 1e-9 USD: 3 USD for a million tokens is 3000.

    It holds from `valid_from` on until the next price of the meter.
    """

    entity: ClassVar[str] = _PRICE

    provider: Key
    """Who serves the model."""
    model: Key
    """The model, as its provider names it."""
    meter: Key
    """What is counted."""
    valid_from: Moment
    """From when on the price holds, until the meter's next one."""
    price: Annotated[Decimal, Field(ge=0, lt=Decimal(10) ** 15, max_digits=100)]
    """What one unit costs in 1e-9 USD: 3 USD for a million tokens is 3000."""


class _Priced(UsageContext):
    """Amounts to price."""

    entity: ClassVar[str] = "usage"

    amounts: SignedAmounts


@query
def set_price(data: NewPrice) -> Statement[Price]:
    """Set what a meter of a model costs from a time on, for every tenant.

    No price is ever changed, and no cost that was logged. Idempotent; raises `Conflict` when the
    meter has another price from the same time on.
    """

    def absent() -> Steps[Price]:
        stored = yield from get_price.bind(data.provider, data.model, data.meter, data.valid_from)
        if stored.price != data.price:
            raise Conflict("the meter has another price from this time on")
        return stored

    return one(Price, _SQL["set_price"], data.parameters(), absent=absent)


@query
def get_price(provider: Key, model: Key, meter: Key, valid_from: Moment) -> Statement[Price]:
    """Return the price that a meter has from exactly this time on. Raises `NotFound`."""
    parameters = {"provider": provider, "model": model, "meter": meter, "valid_from": valid_from}
    return get(Price, _SQL["get_price"], _PRICE, f"of {meter}", parameters)


@query
def list_prices(
    provider: Key, *, model: Key | None = None, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[Price]]:
    """Return a page of a provider's prices, or of one model's, by model, meter and time."""
    return page(
        Price,
        _SQL["list_prices"],
        {"provider": provider, "model": model},
        key={
            "after_model": "model",
            "after_meter": "meter",
            "after_valid_from": "valid_from",
        },
        cursor=cursor,
        page_size=page_size,
    )


@query
@reads(str, int | None)
def price_usage(
    provider: Key, model: Key, amounts: Mapping[str, int], *, at: Moment | None = None
) -> Statement[dict[str, int | None]]:
    """Return what amounts of a model's meters cost, by meter, in 1e-9 USD; None: unpriced.

    At the prices of the time `at`, by default now. Each meter's cost is rounded once, half away
    from zero. `input_tokens` includes cached reads and writes: those that have a price of their
    own are taken out of it, and those that have none are in it and cost 0 themselves. It is the
    same for `output_tokens` and reasoning. The costs of all meters add up to the whole cost.
    """
    data = _Priced(provider=provider, model=model, amounts=dict(amounts))
    parameters: dict[str, Any] = {
        "provider": data.provider,
        "model": data.model,
        "amounts": data.parameters()["amounts"],
        "at": at,
    }
    return Statement(_SQL["price_usage"], parameters, dict)
