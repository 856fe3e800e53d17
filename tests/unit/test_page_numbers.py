"""How pages write durations, money and large numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from runstore.pages._charts import short_number
from runstore.pages._rendering import duration, usd


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "not ended"),
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (119.4, "1 min 59 s"),
        (119.7, "2 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 0 min"),
        (7169, "1 h 59 min"),
        (7199, "2 h 0 min"),
        (100_000, "27 h 47 min"),
    ],
)
def test_no_unit_is_as_much_as_the_next(seconds: float | None, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (0, "$0.00"),
        (Decimal("0E-9"), "$0.00"),
        (1234.5, "$1,234.50"),
        (Decimal("0.25"), "$0.2500"),
        (0.0123, "$0.0123"),
        (0.00003, "$0.000030"),
        (0.000001, "$0.0000010"),
        (Decimal("0.000000001"), "$0.0000000010"),
        (Decimal("-2.5"), "-$2.50"),
        (-0.00003, "-$0.000030"),
    ],
)
def test_no_price_is_too_small_to_be_told(value: Decimal | float | None, written: str) -> None:
    assert usd(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (0, "0"),
        (0.125, "0.125"),
        (999, "999"),
        (999.7, "1k"),
        (1000, "1k"),
        (999_499, "999k"),
        (999_700, "1M"),
        (-999_700, "-1M"),
        (1_234_567, "1.23M"),
        (999_999_999, "1G"),
    ],
)
def test_a_short_number_has_three_digits(value: float | None, written: str) -> None:
    assert short_number(value) == written
