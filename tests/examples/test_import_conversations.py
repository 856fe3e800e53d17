"""Conversations as chat runs: the replay is the file, and nothing is recorded twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, LiteralString, cast

import pytest
from pydantic import JsonValue

from connections import Connect
from import_conversations import (
    Document,
    InvalidConversations,
    find_difference,
    messages_of,
    parse_conversations,
    record_conversation,
    replay_conversation,
)
from recorded_runs import CONVERSATIONS, recorded_by_agents
from runstore import (
    AgentStep,
    Conflict,
    InvalidPayload,
    RunTree,
    ToolCall,
    get_run_tree,
    list_runs,
    read_run_events,
)
from runstore.embedded import Server

ROOT = Path(__file__).parents[2]
IMPORT = ROOT / "examples" / "import_conversations.py"

pytestmark = pytest.mark.direct(reason="its program prepares statements")


def called(id: str, name: str = "find_flights", arguments: str = "{}") -> Document:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asking(*calls: Document, content: JsonValue = None) -> Document:
    return {"role": "assistant", "content": content, "tool_calls": [*calls]}


def answer(id: str, content: JsonValue) -> Document:
    return {"role": "tool", "tool_call_id": id, "name": "find_flights", "content": content}


MESSAGES: list[Document] = [
    {"role": "system", "content": "# Policy\r\n\tBe kind.\n"},
    {"role": "user", "content": "Zürich → 東京, bitte 🛫 e\u0301 \u2028 \\u0000 [bold]"},
    asking(
        called("a", arguments='{"from": "ZRH", "prices": [1, 2.50, null]}'),
        called("b", name="find_user", arguments="not JSON"),
        called("c", name="book"),
        content="Two moments.",
    ),
    answer("b", ""),
    answer("a", '[{"flight": "LX160"}]'),
    {"role": "assistant", "content": ""},
    {"role": "user", "content": None, "a field of tomorrow": {"": [1.0, -0.5, True]}},
    asking(called("a"), called("d")),
    answer("a", "Error: no such flight"),
    {"role": "assistant", "content": None},
]


def new_conversation(*messages: Document, **fields: JsonValue) -> Document:
    conversation: Document = {
        "task_id": 7,
        "trial": 2,
        "reward": 0.0,
        "info": {"task": {"user_id": "mia_li"}, "user_cost": 0.0035475000000000003},
        "traj": [*messages],
    }
    return {**conversation, **fields}


def calls_of(tree: RunTree) -> dict[tuple[int, str], ToolCall]:
    """Return a run's tool calls by the place of their invocation and the id that the model gave."""
    return {
        (place, str(call.provider_call_id)): call
        for place, node in enumerate(tree.invocations)
        for call in node.tool_calls
    }


def said(steps: list[AgentStep]) -> list[tuple[str, JsonValue]]:
    return [(step.kind, step.content) for step in steps]


def test_the_replay_is_the_conversation(connect: Connect) -> None:
    conn = connect()
    conversation = new_conversation(*MESSAGES)

    run_id = record_conversation(conn, conversation)

    assert replay_conversation(conn, run_id) == MESSAGES
    assert find_difference(conn, conversation, run_id) is None


def test_the_log_is_the_messages_between_start_and_end(connect: Connect) -> None:
    conn = connect()

    page = read_run_events(conn, record_conversation(conn, new_conversation(*MESSAGES)))

    types = [event.type for event in page.events]
    assert page.status == "completed"
    assert types == ["run.started", *["message"] * len(MESSAGES), "run.completed"]
    assert [event.seq for event in page.events] == [*range(1, len(MESSAGES) + 3)]


def test_the_run_says_what_the_conversation_was_about(connect: Connect) -> None:
    conn = connect()
    conversation = new_conversation(*MESSAGES)

    run = get_run_tree(conn, record_conversation(conn, conversation)).run

    assert (run.kind, run.thread_id, run.subject_id) == ("chat", "task-7/trial-2", "mia_li")
    assert {**run.metadata, "traj": [*MESSAGES]} == conversation


def test_each_message_of_the_assistant_is_an_invocation(connect: Connect) -> None:
    conn = connect()

    run_id = record_conversation(conn, new_conversation(*MESSAGES))

    events = {event.seq: event.payload for event in read_run_events(conn, run_id).events}
    invocations = [node.invocation for node in get_run_tree(conn, run_id).invocations]
    written = [cast("dict[str, int]", invocation.output)["seq"] for invocation in invocations]
    assert [events[seq] for seq in written] == [MESSAGES[index] for index in (2, 5, 7, 9)]
    assert [invocation.input for invocation in invocations] == [
        {"read_through_seq": seq - 1} for seq in written
    ]
    assert {invocation.status for invocation in invocations} == {"completed"}
    assert {(invocation.model, invocation.input_tokens) for invocation in invocations} == {
        (None, None)
    }


def test_steps_are_what_was_said_and_then_what_was_called(connect: Connect) -> None:
    conn = connect()

    tree = get_run_tree(conn, record_conversation(conn, new_conversation(*MESSAGES)))

    calls = [("tool call", {"id": id}) for id in "abc"]
    assert [said(node.steps) for node in tree.invocations] == [
        [("message", {"text": "Two moments."}), *calls],
        [("message", {"text": ""})],
        [("tool call", {"id": "a"}), ("tool call", {"id": "d"})],
        [("message", {"text": None})],
    ]
    for node in tree.invocations:
        ids = {step.id: cast("dict[str, str]", step.content).get("id") for step in node.steps}
        for call in node.tool_calls:
            assert call.step_id
            assert ids[call.step_id] == call.provider_call_id


def test_parallel_calls_get_their_own_answers(connect: Connect) -> None:
    conn = connect()

    calls = calls_of(get_run_tree(conn, record_conversation(conn, new_conversation(*MESSAGES))))

    first, second = calls[0, "a"], calls[0, "b"]
    assert (first.name, first.status, first.error) == ("find_flights", "completed", None)
    assert first.arguments == {"from": "ZRH", "prices": [1, 2.5, None]}
    assert first.result == '[{"flight": "LX160"}]'
    assert (second.name, second.arguments) == ("find_user", "not JSON")
    assert (second.status, second.result) == ("completed", "")


def test_an_answer_goes_to_the_newest_call_of_its_id(connect: Connect) -> None:
    conn = connect()
    conversation = new_conversation(
        asking(called("a")), asking(called("a")), answer("a", "second"), answer("a", "late")
    )

    calls = calls_of(get_run_tree(conn, record_conversation(conn, conversation)))

    assert (calls[0, "a"].status, calls[0, "a"].result) == ("unknown", None)
    assert (calls[1, "a"].status, calls[1, "a"].result) == ("completed", "second")


def test_a_call_that_nothing_answers_ends_as_unknown(connect: Connect) -> None:
    conn = connect()

    calls = calls_of(get_run_tree(conn, record_conversation(conn, new_conversation(*MESSAGES))))

    assert {key for key, call in calls.items() if call.status == "unknown"} == {(0, "c"), (2, "d")}
    assert {call.status for call in calls.values()} == {"completed", "failed", "unknown"}
    assert calls[0, "c"].error == "the conversation ended without an answer"


def test_a_tool_that_says_so_failed(connect: Connect) -> None:
    conn = connect()

    calls = calls_of(get_run_tree(conn, record_conversation(conn, new_conversation(*MESSAGES))))

    failed = calls[2, "a"]
    assert (failed.status, failed.error) == ("failed", "Error: no such flight")
    assert failed.result == "Error: no such flight"


def test_a_call_is_written_before_its_answer_is_known(connect: Connect) -> None:
    conn = connect()

    run_id = record_conversation(conn, new_conversation(*MESSAGES))

    events = read_run_events(conn, run_id).events
    answered = events[1 + MESSAGES.index(answer("b", ""))]
    call = calls_of(get_run_tree(conn, run_id))[0, "b"]
    assert call.finished_at
    assert call.created_at < answered.created_at < call.finished_at


def test_a_second_import_changes_nothing(connect: Connect) -> None:
    conn = connect()
    conversation = new_conversation(*MESSAGES)
    run_id = record_conversation(conn, conversation)
    before = get_run_tree(conn, run_id), read_run_events(conn, run_id)
    reordered = dict(reversed(conversation.items()))

    assert record_conversation(conn, conversation) == run_id
    assert record_conversation(conn, reordered) == run_id

    assert (get_run_tree(conn, run_id), read_run_events(conn, run_id)) == before
    assert len(list_runs(conn).items) == 1


@pytest.mark.parametrize("fields", [{"trial": 3}, {"reward": 1.0}, {"traj": MESSAGES[:-1]}])
def test_another_conversation_is_another_run(connect: Connect, fields: dict[str, Any]) -> None:
    conn = connect()

    one = record_conversation(conn, new_conversation(*MESSAGES))

    assert record_conversation(conn, new_conversation(*MESSAGES) | fields) != one


def test_a_conversation_may_be_empty(connect: Connect) -> None:
    conn = connect()

    run_id = record_conversation(conn, new_conversation())

    assert replay_conversation(conn, run_id) == []
    assert get_run_tree(conn, run_id).run.status == "completed"


@pytest.mark.parametrize(
    ("last", "error"),
    [
        pytest.param({"role": "user", "content": "\0"}, InvalidPayload, id="a NUL"),
        pytest.param(asking(called("a"), called("a")), Conflict, id="an id twice in a message"),
    ],
)
def test_a_conversation_that_cannot_be_stored_leaves_nothing_behind(
    connect: Connect, last: Document, error: type[Exception]
) -> None:
    conn = connect()

    with pytest.raises(error):
        record_conversation(conn, new_conversation(*MESSAGES, last))

    assert list_runs(conn).items == []


@pytest.mark.parametrize(
    ("given", "difference"),
    [
        (new_conversation(*MESSAGES[:3], answer("b", "other"), *MESSAGES[4:]), "message 3"),
        (new_conversation(*MESSAGES[:-1]), "10 messages for 9"),
        (new_conversation(*MESSAGES, *MESSAGES), "10 messages for 20"),
        (new_conversation(*MESSAGES, reward=1.0), "what it says beside its messages"),
    ],
)
def test_a_difference_is_found(connect: Connect, given: Document, difference: str) -> None:
    conn = connect()

    run_id = record_conversation(conn, new_conversation(*MESSAGES))

    assert find_difference(conn, given, run_id) == difference


@pytest.mark.owner
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM runstore.tool_calls WHERE provider_call_id = 'b'",
        "UPDATE runstore.tool_calls SET status = 'open', finished_at = NULL WHERE result = '\"\"'",
        "DELETE FROM runstore.agent_invocations WHERE output = '{\"seq\": 11}'",
    ],
)
def test_a_row_that_is_lost_or_open_is_a_difference(
    connect: Connect, damage: LiteralString
) -> None:
    conn = connect()
    conversation = new_conversation(*MESSAGES)
    run_id = record_conversation(conn, conversation)

    assert conn.execute(damage).rowcount == 1

    assert find_difference(conn, conversation, run_id) == (
        "its invocations or its finished tool calls"
    )


@recorded_by_agents
def test_what_agents_did_replays_message_for_message(connect: Connect) -> None:
    conn = connect()
    conversations = parse_conversations(CONVERSATIONS.read_bytes())

    run_ids = [record_conversation(conn, conversation) for conversation in conversations]

    assert len(set(run_ids)) == len(conversations) == 40
    for conversation, run_id in zip(conversations, run_ids, strict=True):
        assert replay_conversation(conn, run_id) == messages_of(conversation)
        assert find_difference(conn, conversation, run_id) is None
    assert [record_conversation(conn, conversation) for conversation in conversations] == run_ids


@recorded_by_agents
def test_every_call_of_an_agent_has_the_answer_that_follows_it(connect: Connect) -> None:
    conn = connect()
    calls = 0

    for conversation in parse_conversations(CONVERSATIONS.read_bytes()):
        run_id = record_conversation(conn, conversation)
        # In the file an answer stands right behind its call, and ids come back later.
        behind = [
            (message["tool_call_id"], message["content"])
            for message in messages_of(conversation)
            if message["role"] == "tool"
        ]
        recorded = [
            call for node in get_run_tree(conn, run_id).invocations for call in node.tool_calls
        ]
        assert [(call.provider_call_id, call.result) for call in recorded] == behind
        assert {call.status for call in recorded} <= {"completed", "failed"}
        calls += len(recorded)

    assert calls == 236


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"{}", "the file: "),
        (b"[7]", "0: "),
        (b'[{"task_id": 1, "trial": 0}]', r"0\.traj: "),
        (b'[{"task_id": 1, "trial": 0, "traj": [{"content": ""}]}]', r"0\.traj\.0\.role: "),
        (
            b'[{"task_id": 1, "trial": 0, "traj": [{"role": "assistant", "tool_calls": [{}]}]}]',
            r"0\.traj\.0\.tool_calls\.0\.id: ",
        ),
    ],
)
def test_a_malformed_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidConversations, match=f"^{message}"):
        parse_conversations(content)


def test_a_refusal_does_not_quote_the_conversation() -> None:
    content = b'[{"task_id": 1, "trial": 0, "traj": [{"role": ["confidential"]}]}]'

    with pytest.raises(InvalidConversations) as refusal:
        parse_conversations(content)

    assert "confidential" not in str(refusal.value)


def import_file(path: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, str(IMPORT), str(path), *options],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made-up.json"
    conversations = [new_conversation(*MESSAGES), new_conversation(*MESSAGES[:2], trial=3)]
    path.write_text(json.dumps(conversations), encoding="utf-8")
    return path


COUNTS = "2 runs, 16 events, 4 invocations, 8 steps, 5 tool calls"
EQUAL = "The replay of every run equals the file, message for message: 12 messages"


@pytest.mark.direct(reason="the program opens a connection that prepares")
def test_a_file_is_imported_once(file: Path, database: str, connect: Connect) -> None:
    first = import_file(file, "--database", database)
    second = import_file(file, DATABASE_URL=database)

    assert len(list_runs(connect()).items) == 2
    for done in (first, second):
        assert done.returncode == 0, done.stderr
        assert COUNTS in done.stdout
        assert EQUAL in done.stdout
    assert "2 runs are new, 0 were recorded before." in first.stdout
    assert "0 runs are new, 2 were recorded before." in second.stdout


def test_a_file_is_imported_into_the_demonstrations_database(file: Path, folder: Path) -> None:
    done = import_file(file, "--data-dir", str(folder / "data"))

    assert done.returncode == 0, done.stderr
    assert EQUAL in done.stdout
    assert not (folder / "data" / "postmaster.pid").exists()


@pytest.mark.owner
def test_an_import_whose_replay_differs_fails(file: Path, database: str, connect: Connect) -> None:
    import_file(file, "--database", database)
    connect().execute("UPDATE runstore.run_events SET payload = '{}' WHERE seq = 3")

    done = import_file(file, "--database", database)

    assert done.returncode == 1
    assert done.stdout.count("is NOT equal to the file: message 1.") == 2
    assert EQUAL not in done.stdout


def refusal_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_import_that_fails_says_why(
    file: Path, tmp_path: Path, database: str, empty_dbname: str, server: Server
) -> None:
    malformed = tmp_path / "malformed.json"
    malformed.write_text('[{"task_id": 1, "trial": 0, "traj": [{}]}]')

    assert "No such file" in refusal_of(import_file(tmp_path / "absent", "--database", database))
    assert "0.traj.0.role: Field required" in refusal_of(
        import_file(malformed, "--database", database)
    )
    assert "apply the migrations first" in refusal_of(
        import_file(file, "--database", server.dsn(empty_dbname))
    )
