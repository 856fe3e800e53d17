from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connections import Caller
from contents import contents
from runstore import (
    Conflict,
    InvalidPayload,
    NewPrice,
    NotFound,
    Price,
    get_price,
    list_prices,
    price_usage,
    set_price,
)
from usage_factories import record

MAY = datetime(2026, 5, 1, tzinfo=UTC)


def new_price(meter: str = "input_tokens", price: Any = 3000, **values: Any) -> NewPrice:
    given: dict[str, Any] = {"provider": "p", "model": "m", "valid_from": MAY}
    return NewPrice(**given | values, meter=meter, price=price)


def put(call: Caller, meter: str = "input_tokens", price: Any = 3000, **values: Any) -> Price:
    return call(set_price, new_price(meter, price, **values))


def cost(call: Caller, *, at: datetime | None = None, **amounts: Any) -> dict[str, int | None]:
    return call(price_usage, "p", "m", amounts, at=at)


# set_price


def test_a_price_is_stored_as_it_is_set(call: Caller) -> None:
    price = put(call, price=Decimal("37.5"))
    assert price == call(get_price, "p", "m", "input_tokens", MAY)
    assert (price.price, price.valid_from) == (Decimal("37.5"), MAY)


def test_a_price_may_be_set_again_and_is_never_changed(call: Caller) -> None:
    first = put(call, price=3000)
    before = contents(call)
    assert put(call, price=Decimal("3000.000")) == first
    with pytest.raises(Conflict):
        put(call, price=3001)
    assert contents(call) == before


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"price": -1}, "price"),
        ({"price": Decimal("NaN")}, "price"),
        ({"price": Decimal("Infinity")}, "price"),
        ({"price": 10**15}, "price"),
        ({"model": ""}, "model"),
        ({"valid_from": datetime(2026, 1, 1)}, "valid_from"),  # noqa: DTZ001 - It has no zone.
    ],
)
def test_what_is_no_price_is_refused(values: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        new_price(**values)
    assert raised.value.path == path


# get_price


def test_a_price_is_found_by_the_very_time_that_it_begins(call: Caller) -> None:
    put(call)
    with pytest.raises(NotFound):
        call(get_price, "p", "m", "input_tokens", MAY + timedelta(days=1))


# list_prices


def test_prices_are_listed_by_model_meter_and_time(call: Caller) -> None:
    keys = [
        (model, meter, MAY + timedelta(days=days))
        for model in ("m", "n")
        for meter in ("a", "b")
        for days in (0, 1)
    ]
    for model, meter, valid_from in reversed(keys):
        put(call, meter, model=model, valid_from=valid_from)
    put(call, provider="another")

    listed: list[Any] = []
    cursor = None
    while True:
        page = call(list_prices, "p", cursor=cursor, page_size=3)
        listed += [(price.model, price.meter, price.valid_from) for price in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == keys
    assert [price.model for price in call(list_prices, "p", model="n").items] == ["n"] * 4


# price_usage


def test_usage_costs_what_its_meters_cost_at_the_time(call: Caller) -> None:
    put(call, "requests", 100)
    put(call, "requests", 200, valid_from=MAY + timedelta(days=10))
    put(call, "requests", 999, model="another")
    put(call, "requests", 999, provider="another")
    for days, expected in [(-1, None), (0, 300), (9, 300), (10, 600), (None, 600)]:
        at = None if days is None else MAY + timedelta(days=days)
        assert cost(call, at=at, requests=3, unpriced=5) == {"requests": expected, "unpriced": None}


def test_a_price_of_the_future_is_none_yet(call: Caller) -> None:
    put(call, valid_from=datetime.now(UTC) + timedelta(days=1))
    assert cost(call, input_tokens=1) == {"input_tokens": None}


def test_each_meter_is_rounded_once(call: Caller) -> None:
    put(call, "a", Decimal("0.5"))
    put(call, "b", Decimal("0.4999"))
    assert cost(call, a=1, b=1) == {"a": 1, "b": 0}
    assert cost(call, a=3, b=3) == {"a": 2, "b": 1}
    assert cost(call, a=-3, b=-1) == {"a": -2, "b": 0}


def test_cached_tokens_with_a_price_are_taken_out_of_the_input_tokens(call: Caller) -> None:
    put(call, "input_tokens", 3000)
    put(call, "cache_read_tokens", 300)
    put(call, "output_tokens", 15000)
    amounts: dict[str, Any] = {
        "input_tokens": 1000,
        "cache_read_tokens": 600,
        "cache_write_tokens": 100,
        "output_tokens": 50,
        "reasoning_tokens": 20,
    }
    assert cost(call, **amounts) == {
        "input_tokens": 400 * 3000,
        "cache_read_tokens": 600 * 300,
        "cache_write_tokens": 0,
        "output_tokens": 50 * 15000,
        "reasoning_tokens": 0,
    }
    put(call, "cache_write_tokens", 3750)
    put(call, "reasoning_tokens", 30000)
    assert cost(call, **amounts) == {
        "input_tokens": 300 * 3000,
        "cache_read_tokens": 600 * 300,
        "cache_write_tokens": 100 * 3750,
        "output_tokens": 30 * 15000,
        "reasoning_tokens": 20 * 30000,
    }


def test_tokens_are_unpriced_where_neither_they_nor_what_includes_them_has_a_price(
    call: Caller,
) -> None:
    put(call, "output_tokens", 1)
    assert cost(call, input_tokens=5, cache_read_tokens=5) == {
        "input_tokens": None,
        "cache_read_tokens": None,
    }
    assert cost(call, cache_read_tokens=5) == {"cache_read_tokens": None}


def test_costs_can_be_logged_as_they_are_answered(call: Caller) -> None:
    put(call, "input_tokens", 3000)
    amounts = {"input_tokens": 10, "searches": 1}
    costs = call(price_usage, "p", "m", amounts)
    rows = record(call, amounts=amounts, costs=costs)
    assert [(row.meter, row.cost_nanousd) for row in rows] == [
        ("input_tokens", 30000),
        ("searches", None),
    ]
    # A later price changes no cost that was logged.
    put(call, "input_tokens", 1, valid_from=MAY + timedelta(days=1))
    before = contents(call)["usage_logs"]
    assert [row["cost_nanousd"] for row in before] == [30000, None]


@pytest.mark.parametrize(
    ("amounts", "path"),
    [({}, "amounts"), ({"tokens": 1.5}, "amounts.tokens"), ({"": 1}, "amounts[a key]")],
)
def test_what_are_no_amounts_is_refused(call: Caller, amounts: Any, path: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(price_usage, "p", "m", amounts)
    assert raised.value.path == path
