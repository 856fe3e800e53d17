"""The page of a subject's usage: its limits, its charts, its totals."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from browsers import Browser
from connections import Caller
from runstore import InvalidPayload, NewQuota, NewUsage, record_usage, set_quota
from runstore.pages import render_usage_page

MARK = 'lang="owned"'
RUNS = "document.documentElement.lang='owned'"
HOSTILE = f'</title></style></script><script>{RUNS}</script>\'"><img src=x onerror="{RUNS}">'


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def use(call: Caller, subject_id: str, model: str | None, **amounts: int) -> None:
    call(record_usage, NewUsage(subject_id=subject_id, model=model, amounts=amounts), force=True)


def table(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_what_was_used_by_meter_and_model(call: Caller) -> None:
    use(call, "zoe", "large", tokens=1500)
    use(call, "zoe", "large", tokens=500)
    use(call, "zoe", None, tokens=7)
    use(call, "somebody else", "large", tokens=999)

    page = call(render_usage_page, "zoe", until=tomorrow())

    assert [row[:3] for row in table(page)] == [
        ["tokens", "large", "2\N{NARROW NO-BREAK SPACE}000"],
        ["tokens", "no model", "7"],
    ]
    assert page.count("<figure>") == 1
    assert "somebody else" not in page


def test_limits_are_shown_with_what_is_used_of_them(call: Caller) -> None:
    call(set_quota, NewQuota(subject_id="zoe", meter="tokens", period="day", limit_amount=200))
    use(call, "zoe", "large", tokens=50)

    page = call(render_usage_page, "zoe", until=tomorrow())
    assert "50 of 200" in page
    assert "25.0 percent used" in page
    assert "meter full" not in page

    use(call, "zoe", "large", tokens=150)
    assert "meter full" in call(render_usage_page, "zoe", until=tomorrow())


def test_money_is_shown_as_dollars(call: Caller) -> None:
    use(call, "zoe", "large", cost_nanousd=2_500_000_000)

    page = call(render_usage_page, "zoe", until=tomorrow())

    assert "Cost in US dollars by day" in page
    assert table(page)[0][2] == "$2.50"


def test_nothing_used(call: Caller) -> None:
    page = call(render_usage_page, "zoe")

    assert "Nothing was used" in page
    assert "<table" not in page


@pytest.mark.parametrize("days", [0, -1, 401])
def test_a_time_that_is_none(call: Caller, days: int) -> None:
    until = datetime.now(UTC)
    with pytest.raises(InvalidPayload) as raised:
        call(render_usage_page, "zoe", since=until - timedelta(days=days), until=until)
    assert raised.value.path == "since"


def test_nothing_in_a_name_runs(call: Caller, browser: Browser) -> None:
    use(call, HOSTILE, HOSTILE, **{HOSTILE: 5})

    page = call(render_usage_page, HOSTILE, until=tomorrow())

    assert MARK not in browser.load(page).partition(">")[0]
    assert page.count("&lt;script&gt;") >= 5
