"""Server-Sent Events: the text of an event for a stream to a browser.

The format is the section "Server-sent events" of the WHATWG's HTML standard.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from .run_events import RunEvent

_LINE_END: Final = re.compile("\r\n|\r|\n")


def format_sse(event: RunEvent) -> str:
    """Return an event as a frame: `id` is its number, `event` its type, `data` its payload as JSON.

    A browser that reconnects sends the last number in the header `Last-Event-ID`: `after`, for
    `tail_run_events`. A line end in a type becomes a space, since a frame has no way to hold it;
    JSON has none. Type and payload are sent as they are: what may not leave the server must be
    filtered before.
    """
    name = _LINE_END.sub(" ", event.type)
    data = orjson.dumps(event.payload).decode()
    return f"id: {event.seq}\nevent: {name}\ndata: {data}\n\n"
