"""What an editor offers while a call is written: every field, and what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import runstore
from runstore._models import Input

ROOT = Path(__file__).parents[2]
SERVER = Path(sys.executable).with_name("pyright-langserver")
INPUTS = sorted(
    name
    for name in runstore.__all__
    if isinstance(value := getattr(runstore, name), type) and issubclass(value, Input)
)

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(find_spec("pyright") is None, reason="the extra lint is missing"),
]


class LanguageServer:
    """Asks pyright as an editor does: JSON-RPC, each message behind its length."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._folder = folder
        self._asked = 0
        settings = {
            "capabilities": {
                "workspace": {"configuration": True},
                "textDocument": {
                    "completion": {"completionItem": {"documentationFormat": ["plaintext"]}}
                },
            },
            "processId": None,
            "rootUri": folder.as_uri(),
            "workspaceFolders": [{"uri": folder.as_uri(), "name": "folder"}],
        }
        self._ask("initialize", settings)
        self._send("initialized", {})

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def complete(self, name: str, text: str) -> dict[str, dict[str, Any]]:
        """Return what is offered at the end of a text, by its label."""
        uri = (self._folder / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._send("textDocument/didOpen", {"textDocument": document})
        lines = text.split("\n")
        position = {"line": len(lines) - 1, "character": len(lines[-1])}
        offered = self._ask(
            "textDocument/completion", {"textDocument": {"uri": uri}, "position": position}
        )
        return {item["label"]: item for item in offered["items"]}

    def document(self, item: dict[str, Any]) -> str:
        """Return what the editor shows beside an offer."""
        shown = self._ask("completionItem/resolve", item)
        return str(shown.get("documentation", {}).get("value", ""))

    def _ask(self, method: str, parameters: Any) -> Any:
        self._asked += 1
        self._send(method, parameters, id=self._asked)
        while True:
            message = self._receive()
            if message.get("id") == self._asked and "method" not in message:
                return message["result"]
            if "id" in message:
                # A question of the server's own, such as for its settings.
                python = {
                    "pythonPath": sys.executable,
                    "analysis": {"extraPaths": [str(ROOT / "src")]},
                }
                items = message["params"].get("items", [])
                answers = [
                    python["analysis"] if each.get("section") == "python.analysis" else python
                    for each in items
                ]
                self._write({"id": message["id"], "result": answers or None})

    def _send(self, method: str, parameters: Any, **more: Any) -> None:
        self._write({"method": method, "params": parameters, **more})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        length = 0
        while header := self._process.stdout.readline().strip():
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server has ended"
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return message


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    server = LanguageServer(tmp_path_factory.mktemp("editor"))
    yield server
    server.close()


@pytest.mark.parametrize("name", INPUTS)
def test_a_call_is_offered_every_field(name: str, editor: LanguageServer) -> None:
    model: type[Input] = getattr(runstore, name)

    offered = editor.complete(f"{name}_call.py", f"from runstore import {name}\n{name}(")

    assert {f"{field}=" for field in model.model_fields} - set(offered) == set()


@pytest.mark.parametrize("name", INPUTS)
def test_a_field_is_shown_with_what_it_is(name: str, editor: LanguageServer) -> None:
    model: type[Input] = getattr(runstore, name)
    text = f"from runstore import {name}\ndef f(data: {name}) -> None:\n    data."

    offered = editor.complete(f"{name}_field.py", text)

    shown = {field: editor.document(offered[field]) for field in model.model_fields}
    assert [field for field, text in shown.items() if len(text.splitlines()) < 2] == []
