"""The format of SWE-agent's trajectories, and the phases that their actions tell of.

A `.traj` file is a JSON object. Its list `trajectory` has an entry for each turn of the agent:
`thought` and `response` are what the model said, `action` is the command that the tool ran,
`observation` what it printed, `execution_time` its seconds, `state` the shell's state after it.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import JsonValue

Trajectory = dict[str, JsonValue]
Entry = dict[str, JsonValue]

# The editors of SWE-agent: one works on the file that is open, the other names its file.
_MAKES_FILE: Final = re.compile(r"(?:str_replace_editor )?create (\S+)")
_EDITS_NAMED_FILE: Final = re.compile(r"str_replace_editor (?:str_replace|insert|undo_edit) (\S+)")
_EDITS_OPEN_FILE: Final = re.compile(r"(?:edit|insert|append)(?: |$)")
_RUNS_CODE: Final = re.compile(r"(?:^|[;&|] *)(?:python[\d.]*|pytest|tox)(?: .*)?$")


class InvalidTrajectory(ValueError):
    """The text is not a trajectory; the message says which part of it is wrong."""


def parse_trajectory(content: bytes) -> Trajectory:
    """Read a trajectory. Only what the phases are derived from has to be there: the actions."""
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidTrajectory(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidTrajectory("it is not a JSON object")
    trajectory = cast("Trajectory", document)
    entries = trajectory.get("trajectory")
    if not isinstance(entries, list):
        raise InvalidTrajectory("trajectory: is not a list")
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InvalidTrajectory(f"trajectory[{index}]: is not an object")
        if not isinstance(entry.get("action"), str):
            raise InvalidTrajectory(f"trajectory[{index}].action: is not a text")
    return trajectory


def entries_of(trajectory: Trajectory) -> list[Entry]:
    """Return the turns of the agent."""
    return cast("list[Entry]", trajectory["trajectory"])


def find(value: JsonValue, *path: str) -> JsonValue:
    """Follow a path of keys into a document; None where it does not lead anywhere."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def find_text(value: JsonValue, *path: str) -> str | None:
    """Follow a path of keys to a text that is not empty."""
    found = find(value, *path)
    return found if isinstance(found, str) and found else None


def split_into_phases(entries: list[Entry]) -> dict[str, range]:
    """Return which entries belong to which phase, by what the agent did.

    - `reproduce`, from the start, ends with the first run of a script that the agent made, or
      before the first edit of any other file when that comes sooner.
    - `edit` follows; to look for the fault is part of it.
    - `verify` begins with the first run of any code after the last edit.

    A script is a file that the agent made and ran. A phase without entries is left out.
    """
    made = {file for entry in entries if (file := _named_file(_MAKES_FILE, entry))}
    ran = [made & _named_in_run(entry) for entry in entries]
    scripts = set[str]().union(*ran)
    edits = [
        index
        for index, entry in enumerate(entries)
        if (file := _edited_file(entry)) and file not in scripts
    ]

    end = len(entries)
    reproduced = next((index + 1 for index, files in enumerate(ran) if files), end)
    edit = min([reproduced, *edits])
    after = edits[-1] + 1 if edits else end
    verify = next((index for index in range(after, end) if _run(entries[index])), end)
    phases = {"reproduce": range(edit), "edit": range(edit, verify), "verify": range(verify, end)}
    return {name: indexes for name, indexes in phases.items() if indexes}


def _edited_file(entry: Entry) -> str | None:
    if _EDITS_OPEN_FILE.match(_first_line(entry)):
        return find_text(_state(entry), "open_file") or "the open file"
    return _named_file(_EDITS_NAMED_FILE, entry) or _named_file(_MAKES_FILE, entry)


def _named_file(command: re.Pattern[str], entry: Entry) -> str | None:
    named = command.match(_first_line(entry))
    return _absolute(named[1], entry) if named else None


def _named_in_run(entry: Entry) -> set[str]:
    """Return the words of a command that runs code, each as the file that it may name."""
    return {_absolute(word, entry) for word in _run(entry).split()}


def _run(entry: Entry) -> str:
    """Return the part of a command that runs code, empty where none does."""
    runs = _RUNS_CODE.search(_first_line(entry))
    return runs[0] if runs else ""


def _absolute(name: str, entry: Entry) -> str:
    folder = find_text(_state(entry), "working_dir") or "."
    return posixpath.normpath(posixpath.join(folder, name.strip("\"'")))


def _first_line(entry: Entry) -> str:
    return str(entry["action"]).partition("\n")[0].strip()


def _state(entry: Entry) -> JsonValue:
    """Return the shell's state; older versions of SWE-agent wrote it as JSON within a text."""
    state = entry.get("state")
    if not isinstance(state, str):
        return state
    try:
        return cast("JsonValue", json.loads(state))
    except ValueError:
        return None
