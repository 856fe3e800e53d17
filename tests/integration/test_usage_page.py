"""The page of a subject's usage: its limits, its charts, its totals."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

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


@pytest.mark.owner
@pytest.mark.parametrize(
    ("days_in", "session_in"),
    [
        ("Europe/Berlin", "UTC"),
        ("UTC", "Europe/Berlin"),
        ("UTC", "America/New_York"),
        ("Pacific/Auckland", "Pacific/Honolulu"),
        ("Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_each_day_is_drawn_whatever_the_zone_of_the_session(
    call: Caller, days_in: str, session_in: str
) -> None:
    # In these days the clocks of Berlin go forward, and those of Auckland back.
    first = datetime(2026, 3, 26, 12, tzinfo=ZoneInfo(days_in))
    for day in range(12):
        usage = NewUsage(subject_id="zoe", amounts={"tokens": 100 + day})
        call(record_usage, usage)
        call.execute(
            "UPDATE runstore.usage_logs SET created_at = %s WHERE id = %s",
            [first + timedelta(days=day), usage.id],
        )
    call.execute("SELECT set_config('TimeZone', %s, true)", [session_in])

    page = call(
        render_usage_page,
        "zoe",
        since=first - timedelta(days=1),
        until=first + timedelta(days=13),
        timezone=days_in,
    )

    values = re.findall(r'class="value">([^<]*)<', page)
    labels = re.findall(r"<text[^>]*>(\d\d \w{3})</text>", page)
    assert values == [str(100 + day) for day in range(12)]
    assert labels == [f"{day} Mar" for day in range(26, 32)] + [
        f"0{day} Apr" for day in range(1, 7)
    ]


def test_money_is_shown_as_dollars(call: Caller) -> None:
    use(call, "zoe", "large", cost_nanousd=2_500_000_000)

    page = call(render_usage_page, "zoe", until=tomorrow())

    assert "Cost in US dollars by day" in page
    assert table(page)[0][2] == "$2.50"


@pytest.mark.parametrize("name", ["other", "3 others"])
def test_the_smallest_of_many_models_are_drawn_together(call: Caller, name: str) -> None:
    use(call, "zoe", name, tokens=900)
    for number in range(1, 10):
        use(call, "zoe", f"model {number}", tokens=number)

    page = call(render_usage_page, "zoe", until=tomorrow())

    legend = re.findall(r"</i>([^<]*)</span>", page.partition("<figcaption>")[2])
    assert legend == [name, *(f"model {number}" for number in range(9, 3, -1)), "3 others"]
    values = re.findall(r'class="value">([^<]*)<', page)
    assert values == ["900", "9", "8", "7", "6", "5", "4", "6"]


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


def test_a_time_without_a_zone_is_refused(call: Caller) -> None:
    bare = tomorrow().replace(tzinfo=None)
    with pytest.raises(InvalidPayload, match="since"):
        call(render_usage_page, "zoe", since=bare)
    with pytest.raises(InvalidPayload, match="until"):
        call(render_usage_page, "zoe", until=bare)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "Europe", "../zone", "a\0b", "z" * 300])
def test_a_time_zone_that_is_none(call: Caller, name: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(render_usage_page, "zoe", timezone=name)
    assert raised.value.path == "timezone"


def test_nothing_in_a_name_runs(call: Caller, browser: Browser) -> None:
    use(call, HOSTILE, HOSTILE, **{HOSTILE: 5})

    page = call(render_usage_page, HOSTILE, until=tomorrow())

    assert MARK not in browser.load(page).partition(">")[0]
    assert page.count("&lt;script&gt;") >= 5
