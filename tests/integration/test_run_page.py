"""The page of a run: what it shows, what it leaves out, and that nothing in it can run."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

import pytest

from browsers import Browser
from connections import Caller
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_memory,
    create_phase,
    create_run,
    create_sandbox,
    create_step,
    new_agent_step,
)
from old_runs import LONG_AGO, make_old_run
from report_factories import new_report
from runstore import (
    InvalidPayload,
    InvocationOutcome,
    NewChatRun,
    NewRunEvent,
    NotFound,
    SectionDraft,
    append_run_events,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    create_agent_step,
    create_report,
    fail_phase_result,
    finish_tool_call,
    new_run_id,
    purge_run_events,
    put_report_section,
)
from runstore import create_run as create_chat_run
from runstore.pages import render_run_page

MARK = 'lang="owned"'
RUNS = "document.documentElement.lang='owned'"
# It leaves every place that a text can stand in: a title, a script, an attribute, a template.
HOSTILE = (
    f"</title></style></script><script>{RUNS}</script>"
    f'\'"><img src=x onerror="{RUNS}">{{{{ 7 * 7 }}}}{{% raw %}}'
)


def record(call: Caller, text: Callable[[str], str]) -> Any:
    """Record a run with something of everything, its words given by `text`."""
    run = create_run(call, name=text("a pipeline"), phase=text("plan"), input=text("the goal"))
    phase = create_phase(call, run.id, phase=text("plan"))
    invocation = create_invocation(
        call,
        run.id,
        phase_result_id=phase.id,
        agent=text("planner"),
        model=text("a-model"),
        input={text("key"): text("a prompt")},
    )
    call(
        create_agent_step,
        new_agent_step(invocation.id, kind=text("thought"), content=text("a thought")),
    )
    tool = create_call(call, invocation.id, name=text("grep"), arguments=text("a pattern"))
    call(finish_tool_call, tool.id, status="failed", error=text("no such file"))
    call(
        complete_agent_invocation,
        invocation.id,
        InvocationOutcome(
            output=text("an answer"),
            finish_reason=text("stop"),
            input_tokens=1234567,
            output_tokens=89,
            cost_usd=Decimal("1.25"),
        ),
    )
    call(fail_phase_result, phase.id, error=text("it failed"))
    create_memory(call, run.id, kind=text("fact"), content=text("remember this"))
    question = create_cta(call, run.id, kind=text("approve"), request=text("may I?"))
    call(complete_cta_event, question.id, text("you may"), resolved_by=text("zoe"))
    create_sandbox(call, run.id, id=text("machine"), provider=text("a provider"))
    report = call(create_report, new_report(run.id, title=text("a report")))
    draft = SectionDraft(slug="s", heading=text("a heading"), content=text("a section"))
    call(put_report_section, report.id, draft)
    messages = [
        NewRunEvent(type="message", payload={"role": text("user"), "content": text("hello?")}),
        NewRunEvent(type=text("token"), payload={"text": text("Hel")}),
        NewRunEvent(type=text("token"), payload={"text": text("lo")}),
    ]
    call(append_run_events, run.id, messages)
    call(complete_feature_run, run.id, output=text("merged"))
    return run


def plain(text: str) -> str:
    return text


def hostile(text: str) -> str:
    return f"{text}{HOSTILE}"


def test_it_shows_all_that_was_recorded(call: Caller) -> None:
    run = record(call, plain)

    page = call(render_run_page, run.id)

    shown = re.sub(r"<[^>]*>", "", page.partition("<main")[2])
    for each in (
        *("a pipeline", "plan", "the goal", "planner", "a-model", "a prompt", "a thought", "grep"),
        *("a pattern", "no such file", "an answer", "stop", "it failed", "remember this"),
        *("approve", "may I?", "you may", "zoe", "machine", "a provider", "a report", "a heading"),
        *("a section", "hello?", "Hello", "merged", "1.23M", "$1.25", str(run.id)),
    ):
        assert each in shown, each


def test_what_went_wrong_is_in_view_and_leads_to_where_it_is_told(call: Caller) -> None:
    page = call(render_run_page, record(call, plain).id)

    links = re.findall(r'<a href="#([a-z]+-[0-9a-f-]+)">(phase plan|grep)', page)
    assert [what for _, what in links] == ["phase plan", "grep"]
    for anchor, _ in links:
        assert page.count(f'id="{anchor}"') == 1


def test_it_needs_nothing_from_elsewhere(call: Caller) -> None:
    page = call(render_run_page, record(call, plain).id)

    assert "default-src 'none'" in page
    assert not re.search(r"<(link|img|iframe|object|embed|base)\b|@import|url\(", page)
    assert not re.search(r"(src|href)=\"(?!#)", page)


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        (InvocationOutcome(input_tokens=500), ["500 tokens read"]),
        (InvocationOutcome(output_tokens=500), ["500 tokens written"]),
        (InvocationOutcome(input_tokens=0, output_tokens=7), ["0 tokens read", "7 tokens written"]),
        (InvocationOutcome(), []),
    ],
)
def test_what_was_not_reported_is_not_0(
    call: Caller, reported: InvocationOutcome, said: list[str]
) -> None:
    run = create_run(call)
    made = create_invocation(call, run.id)
    call(complete_agent_invocation, made.id, reported)

    page = call(render_run_page, run.id)

    tiles = re.findall(r"<li><b>([^<]*)</b> (tokens \w+)</li>", page)
    assert [f"{number} {what}" for number, what in tiles] == said


def test_what_has_not_ended_took_no_time_yet(call: Caller) -> None:
    run = create_run(call)
    made = create_invocation(call, run.id)
    time = re.compile(r'<td class="n">([^<]*)</td></tr>')
    assert time.findall(call(render_run_page, run.id)) == [""]

    call(complete_agent_invocation, made.id, InvocationOutcome())

    [took] = time.findall(call(render_run_page, run.id))
    assert took


def test_tool_calls_lie_in_the_steps_that_made_them(call: Caller) -> None:
    run = create_run(call)
    made = create_invocation(call, run.id)
    create_call(call, made.id, name="of no step")
    for number in range(2):
        step = create_step(call, made.id, kind=f"step {number}")
        for which in ("first", "second"):
            create_call(call, made.id, name=f"{which} of step {number}", step_id=step.id)

    work = call(render_run_page, run.id).partition('id="work"')[2]

    told = re.findall(r"<b>([^<]*step[^<]*)</b>", work)
    assert told == [
        *("step 0", "first of step 0", "second of step 0"),
        *("step 1", "first of step 1", "second of step 1"),
        "of no step",
    ]


def test_sub_agents_are_shown_however_deep_they_lie(call: Caller, browser: Browser) -> None:
    run = create_run(call)
    agents = [f"agent {level}" for level in range(1, 301)]
    made: list[UUID] = []
    for agent in agents:
        parent_id = made[-1] if made else None
        made.append(create_invocation(call, run.id, agent=agent, parent_invocation_id=parent_id).id)

    page = call(render_run_page, run.id)
    work = browser.load(page).partition('id="work"')[2].partition("</section>")[0]

    assert re.findall(r'<span class="label"[^>]*>(agent \d+)<', page) == agents
    assert re.findall(r"<b>(agent \d+)</b>", work) == agents
    # Each lies in the one that called it as far as there is room, and leads to it after that.
    assert re.findall(r'<span class="kind">agent(?:, level (\d+))?</span>', work) == [
        str(level) if level > 12 else "" for level in range(1, 301)
    ]
    assert re.findall(r'<a href="#invocation-([^"]+)">another agent</a>', work) == [
        str(id) for id in made[11:-1]
    ]
    depths = [
        0,
        *accumulate(
            {"<details": 1, "</details": -1}[tag] for tag in re.findall(r"</?details", work)
        ),
    ]
    assert max(depths) == 12


@pytest.mark.parametrize("limit", [{"max_rows": 1}, {"max_events": 2}])
def test_it_says_what_is_left_out(call: Caller, limit: dict[str, int]) -> None:
    run = create_run(call)
    create_memory(call, run.id, content="the first")
    create_memory(call, run.id, content="the second")
    call(append_run_events, run.id, [NewRunEvent(type="one"), NewRunEvent(type="two")])

    whole = call(render_run_page, run.id)
    part = call(render_run_page, run.id, **limit)

    assert 'class="note"' not in whole
    assert 'class="note"' in part


def test_it_says_that_there_are_more_reports(call: Caller) -> None:
    run = create_run(call)
    for number in range(20):
        call(create_report, new_report(run.id, title=f"report {number:02}"))
    assert 'class="note"' not in call(render_run_page, run.id)

    call(create_report, new_report(run.id, title="report 20"))

    page = call(render_run_page, run.id)
    assert '<p class="note">The newest 20 are shown; there are more.</p>' in page
    assert set(re.findall(r"report \d\d", page)) == {
        f"report {number:02}" for number in range(1, 21)
    }


@pytest.mark.owner
def test_it_says_that_events_were_purged(committed_call: Caller) -> None:
    run_id = make_old_run(committed_call, events=4)
    committed_call(purge_run_events, LONG_AGO)

    page = committed_call(render_run_page, run_id)

    assert "Those up to 5 have been purged." in page
    assert "are shown" not in page


def test_a_message_that_follows_its_own_pieces_is_shown_once(call: Caller) -> None:
    run = call(create_chat_run, NewChatRun())
    pieces = [NewRunEvent(type="token", payload={"text": text}) for text in ("Hel", "lo")]
    message = NewRunEvent(type="message", payload={"role": "assistant", "content": "Hello"})
    call(append_run_events, run.id, [*pieces, message])

    page = call(render_run_page, run.id)

    assert page.count('<div class="said">Hello</div>') == 1


def test_a_run_that_does_not_exist(call: Caller) -> None:
    with pytest.raises(NotFound):
        call(render_run_page, new_run_id())


@pytest.mark.parametrize("limit", [{"max_rows": 0}, {"max_events": 0}, {"max_events": 10**5}])
def test_a_limit_that_is_none(call: Caller, limit: dict[str, int]) -> None:
    run = create_run(call)
    with pytest.raises(InvalidPayload) as raised:
        call(render_run_page, run.id, **limit)
    assert raised.value.path in limit


def test_nothing_in_a_payload_runs(call: Caller, browser: Browser) -> None:
    page = call(render_run_page, record(call, hostile).id)

    assert MARK not in browser.load(page).partition(">")[0]
    # Not because the words were lost: they stand there, to be read.
    assert page.count("&lt;script&gt;") > 20


def test_the_policy_stops_what_escaping_would_miss(call: Caller, browser: Browser) -> None:
    page = call(render_run_page, record(call, plain).id)
    injected = page.replace(
        "</main>", f'<script>{RUNS}</script><img src=x onerror="{RUNS}"></main>'
    )
    unprotected = injected.replace("Content-Security-Policy", "X-Nothing")

    assert MARK not in browser.load(injected).partition(">")[0]
    assert MARK in browser.load(unprotected).partition(">")[0]


def test_events_are_searched(call: Caller, browser: Browser) -> None:
    page = call(render_run_page, record(call, plain).id)

    after = browser.load(
        page,
        "const s = document.getElementById('search'); s.value = 'MESSAGE hello';"
        "s.dispatchEvent(new Event('input'));",
    )

    assert re.search(r"<output[^>]*>1 of \d+ events</output>", after)
    shown = re.findall(r'<li id="event-(\d+)"(?! hidden)', after)
    assert len(shown) == 1


def test_a_link_opens_what_it_leads_to(call: Caller, browser: Browser) -> None:
    page = call(render_run_page, record(call, plain).id)
    [anchor] = set(re.findall(r'<li class="call" id="(tool-[0-9a-f-]+)">', page))

    after = browser.load(
        page, f"location.hash = '{anchor}'; dispatchEvent(new Event('hashchange'));"
    )

    assert '<details open=""><summary><span class="kind">tool' in after


def test_what_a_run_left_open_says_so(call: Caller) -> None:
    run = create_run(call)
    made = create_invocation(call, run.id)
    create_call(call, made.id)
    create_cta(call, run.id)
    assert "open when the run ended" not in call(render_run_page, run.id)

    call(complete_feature_run, run.id)

    assert call(render_run_page, run.id).count("open when the run ended") == 3
