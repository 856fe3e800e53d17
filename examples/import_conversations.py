"""Record conversations of tau-bench as chat runs, replay them, and see that nothing is lost.

The file is a JSON list of conversations: `task_id` and `trial` say which one it is, `traj` holds
its messages in the form of OpenAI's chat completions, and the rest (`reward`, `info`) what it was
about and how it was judged. Of each conversation becomes one chat run:

- The run's `thread_id` is its task and trial, its `subject_id` the customer, its `metadata` all
  that is not a message. Each message is an event, whose payload is the message as it stands.
- Each message of the assistant is one answer of a model: an invocation. Its input and output say
  by number which events it read and which one it wrote; a step holds what it said, and one more
  step each call that it made. The file names neither the model nor its tokens: they stay unknown
  (NULL), as does whatever else it does not tell. Times are those of the import.
- A tool call is written open, and finished by the message that answers it. A model may use a
  `tool_call_id` again later in the conversation: an answer goes to the newest call of its id.
  Calls that nothing answers end as `unknown`.

To import a conversation again changes nothing and finds the first run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from psycopg import Connection, errors
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError
from rich.console import Console

from demo_server import default_data_dir
from import_trajectory import checked_dsn, database
from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewChatRun,
    NewRunEvent,
    NewToolCall,
    RunEvent,
    RunstoreError,
    append_run_events,
    close_open_tool_calls,
    complete_agent_invocation,
    complete_run,
    connect,
    create_agent_invocation,
    create_agent_steps,
    create_run,
    create_tool_calls,
    finish_tool_call,
    get_run_tree,
    iter_run_events,
    new_run_id,
    start_run,
    transaction,
)
from swe_agent import find, find_text
from terminal import open_console, print_verbatim
from trajectory_run import rest

NAME: Final = "tau-bench conversation"
AGENT: Final = "tau-bench agent"
MESSAGE: Final = "message"

Document = dict[str, JsonValue]


class InvalidConversations(ValueError):
    """The text is not a list of conversations; the message says which part of it is wrong."""


class Part(BaseModel):
    """A part of the file. Errors name the fields at fault and do not hold their values."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, strict=True)


class CalledFunction(Part):
    """Which function a tool call names; the arguments are JSON within a text."""

    name: str
    arguments: JsonValue = None


class RequestedCall(Part):
    """A tool call as the model asked for it."""

    id: str
    function: CalledFunction


class Message(Part):
    """What the import has to know of a message."""

    role: str
    content: JsonValue = None
    tool_calls: list[RequestedCall] | None = None
    tool_call_id: str | None = None


class Conversation(Part):
    """What the import has to know of a conversation."""

    task_id: int | str
    trial: int | str
    traj: list[Message]


CONVERSATIONS: Final = TypeAdapter(list[Conversation])


def main() -> int:
    """Import the file and return the exit status."""
    options = parse_arguments()
    console = open_console()
    try:
        conversations = parse_conversations(options.file.read_bytes())
        with database(options, console) as dsn, connect(dsn) as conn:
            # Ids ascend: whatever is below this one was there before.
            first = new_run_id()
            run_ids = [record_conversation(conn, item) for item in conversations]
            recorded = sum(run_id > first for run_id in set(run_ids))
            console.print(
                f"{recorded} runs are new, {len(set(run_ids)) - recorded} were recorded before."
            )
            return report(conn, conversations, run_ids, console)
    except KeyboardInterrupt:
        sys.exit("Interrupted: of each conversation nothing was recorded, or all of it.")
    except (OSError, InvalidConversations, RunstoreError) as error:
        sys.exit(f"{options.file} cannot be imported: {error}")
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        sys.exit("The database lacks the schema: apply the migrations first.")
    except psycopg.OperationalError as error:
        sys.exit(f"The database cannot be reached: {error}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="import-conversations", description=__doc__)
    parser.add_argument("file", type=Path, help="a JSON file of tau-bench's trajectories")
    parser.add_argument(
        "--database",
        metavar="DSN",
        type=checked_dsn,
        # Not shown as the default in the help: it may hold a password.
        default=os.environ.get("DATABASE_URL"),
        help="a migrated database (default: $DATABASE_URL, else the demonstration's own)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_dir(),
        help="where the demonstration's PostgreSQL keeps its data (default: %(default)s)",
    )
    return parser.parse_args()


def parse_conversations(content: bytes) -> list[Document]:
    """Read a file of conversations. Only what the import has to know of them is checked."""
    try:
        document: Any = json.loads(content)
        CONVERSATIONS.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidConversations(f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidConversations(f"it is not JSON: {error}") from None
    return cast("list[Document]", document)


def messages_of(conversation: Document) -> list[Document]:
    """Return the messages as the file has them."""
    return cast("list[Document]", conversation["traj"])


def record_conversation(conn: Connection[Any], conversation: Document) -> UUID:
    """Record a conversation, all of it or nothing, and return the id of its run.

    To record it again changes nothing and answers the same run.
    """
    parsed = Conversation.model_validate(conversation)
    canonical = json.dumps(conversation, sort_keys=True, separators=(",", ":"))
    data = NewChatRun(
        name=NAME,
        thread_id=f"task-{parsed.task_id}/trial-{parsed.trial}",
        subject_id=find_text(conversation, "info", "task", "user_id"),
        idempotency_key=f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}",
        metadata=rest(conversation, {"traj"}),
    )
    with transaction(conn):
        run = create_run(conn, data)
        if run.id != data.id:
            return run.id
        record_messages(conn, run.id, parsed.traj, messages_of(conversation))
    return run.id


def record_messages(
    conn: Connection[Any], run_id: UUID, messages: list[Message], payloads: list[Document]
) -> None:
    """Start a run, record its messages one by one as they came, and complete it with the last."""
    seq = start_run(conn, run_id).last_seq
    events = [NewRunEvent(type=MESSAGE, payload=payload) for payload in payloads]
    waiting: dict[str, UUID] = {}
    for index, message in enumerate(messages):
        if index < len(messages) - 1:
            seq = append_run_events(conn, run_id, [events[index]], expected_seq=seq)
        else:
            # The last message is not appended: it commits with the run's final status.
            seq += 1
        if message.role == "assistant":
            waiting |= record_turn(conn, run_id, message, seq)
        elif message.tool_call_id in waiting:
            finish_call(conn, waiting.pop(message.tool_call_id), message.content)
    close_open_tool_calls(conn, run_id, "the conversation ended without an answer")
    complete_run(conn, run_id, events=events[-1:])


def record_turn(conn: Connection[Any], run_id: UUID, message: Message, seq: int) -> dict[str, UUID]:
    """Record what the model answered as event `seq`, and return its open calls by their ids."""
    invocation = NewAgentInvocation(run_id=run_id, agent=AGENT, input={"read_through_seq": seq - 1})
    create_agent_invocation(conn, invocation)
    requested = message.tool_calls or []
    steps = [
        NewAgentStep(invocation_id=invocation.id, kind="tool call", content={"id": call.id})
        for call in requested
    ]
    calls = [
        NewToolCall(
            invocation_id=invocation.id,
            step_id=step.id,
            provider_call_id=call.id,
            name=call.function.name,
            arguments=parse_arguments_of(call),
        )
        for step, call in zip(steps, requested, strict=True)
    ]
    if message.content is not None or not calls:
        said = NewAgentStep(
            invocation_id=invocation.id, kind="message", content={"text": message.content}
        )
        steps.insert(0, said)
    create_agent_steps(conn, steps)
    if calls:
        create_tool_calls(conn, calls)
    complete_agent_invocation(conn, invocation.id, InvocationOutcome(output={"seq": seq}))
    return {request.id: call.id for request, call in zip(requested, calls, strict=True)}


def parse_arguments_of(call: RequestedCall) -> JsonValue:
    """Return the arguments as the JSON that they say, or as the text when that is not JSON."""
    arguments = call.function.arguments
    if not isinstance(arguments, str):
        return arguments
    try:
        return cast("JsonValue", json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments


def finish_call(conn: Connection[Any], call_id: UUID, answer: JsonValue) -> None:
    """Finish a call with its answer. The tools say that they failed by how the answer begins."""
    if isinstance(answer, str) and answer.startswith("Error:"):
        finish_tool_call(conn, call_id, status="failed", result=answer, error=answer)
    else:
        finish_tool_call(conn, call_id, result=answer)


def replay_conversation(conn: Connection[Any], run_id: UUID) -> list[Document]:
    """Return the messages of a run, in their order, from its events."""
    return [cast("Document", event.payload) for event in read_messages(conn, run_id)]


def read_messages(conn: Connection[Any], run_id: UUID) -> list[RunEvent]:
    """Return the events of a run that are messages, in their order."""
    return [event for event in iter_run_events(conn, run_id) if event.type == MESSAGE]


def report(
    conn: Connection[Any],
    conversations: Sequence[Document],
    run_ids: Sequence[UUID],
    console: Console,
) -> int:
    """Read everything back, say whether it is what the file says, and return the exit status."""
    counts: Counter[str] = Counter()
    for run_id in set(run_ids):
        counts.update(count_rows(conn, run_id))
    figures = ", ".join(f"{count} {name}" for name, count in counts.items())
    print_verbatim(console, f"The database holds of this file: {figures}.")

    equal = True
    for conversation, run_id in zip(conversations, run_ids, strict=True):
        if difference := find_difference(conn, conversation, run_id):
            print_verbatim(console, f"Run {run_id} is NOT equal to the file: {difference}.")
            equal = False
    if not equal:
        return 1
    messages = sum(len(messages_of(conversation)) for conversation in conversations)
    print_verbatim(
        console,
        f"The replay of every run equals the file, message for message: {messages} messages in"
        f" {len(conversations)} conversations. Every answer of the model is an invocation, every"
        " call that it made a tool call, and none is left open.",
    )
    return 0


def count_rows(conn: Connection[Any], run_id: UUID) -> dict[str, int]:
    """Count what a run consists of."""
    tree = get_run_tree(conn, run_id)
    return {
        "runs": 1,
        "events": sum(1 for _ in iter_run_events(conn, run_id)),
        "invocations": len(tree.invocations),
        "steps": sum(len(node.steps) for node in tree.invocations),
        "tool calls": sum(len(node.tool_calls) for node in tree.invocations),
    }


def find_difference(conn: Connection[Any], conversation: Document, run_id: UUID) -> str | None:
    """Say in what a run differs from the conversation of which it was made, if in anything."""
    stored = read_messages(conn, run_id)
    given = messages_of(conversation)
    for index, (event, message) in enumerate(zip(stored, given, strict=False)):
        if event.payload != message:
            return f"message {index}"
    if len(stored) != len(given):
        return f"{len(stored)} messages for {len(given)}"
    tree = get_run_tree(conn, run_id)
    if tree.run.metadata != rest(conversation, {"traj"}):
        return "what it says beside its messages"
    messages = Conversation.model_validate(conversation).traj
    asked = {
        event.seq: sorted(call.id for call in message.tool_calls or [])
        for event, message in zip(stored, messages, strict=True)
        if message.role == "assistant"
    }
    recorded = {
        find(node.invocation.output, "seq"): sorted(
            str(call.provider_call_id) for call in node.tool_calls if call.finished_at
        )
        for node in tree.invocations
    }
    return None if recorded == asked else "its invocations or its finished tool calls"


if __name__ == "__main__":
    sys.exit(main())
