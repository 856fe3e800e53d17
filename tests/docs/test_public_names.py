"""Everything public says what it is, and stands in the reference."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import runstore
from runstore._models import Input

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "documentation"))

from public_modules import public_modules, shared_models  # noqa: E402

pytestmark = pytest.mark.once

MODULES = [each.name for each in public_modules()]
# A model is there once its module has been imported. The plugin is left to pytest, which wants to
# be the first to import it.
LOADED = [import_module(name) for name in MODULES if name != "runstore.testing.plugin"]


def inputs(base: type[Input] = Input) -> list[type[Input]]:
    # Other tests make inputs of an application's own.
    ours = base.__module__.startswith("runstore.") and base is not Input
    found = [base] if ours and not base.__name__.startswith("_") else []
    return found + [each for child in base.__subclasses__() for each in inputs(child)]


def defined_in(module: ModuleType) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_has_a_docstring(name: str) -> None:
    module = __import__(name, fromlist=["_"])
    silent: list[str] = []
    for each, value in defined_in(module):
        if not inspect.getdoc(value):
            silent.append(each)
        if inspect.isclass(value):
            silent += [
                f"{each}.{method}"
                for method, member in vars(value).items()
                if not method.startswith("_")
                and (inspect.isfunction(member) or isinstance(member, property | classmethod))
                and not inspect.getdoc(getattr(value, method))
            ]

    assert silent == []


def test_every_public_name_stands_in_the_reference() -> None:
    documented = {
        name for module in MODULES for name, _ in defined_in(__import__(module, fromlist=["_"]))
    } | set(shared_models())

    assert set(runstore.__all__) - documented == set()


@pytest.mark.parametrize("model", inputs(), ids=lambda model: model.__name__)
def test_every_field_of_an_input_says_what_it_is(model: type[Input]) -> None:
    source = Path(inspect.getfile(model)).read_text(encoding="utf-8")
    [definition] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == model.__name__
    ]
    silent = [
        ast.unparse(field.target)
        for field, follower in zip(definition.body, [*definition.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(field.annotation)
        and not (isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant))
    ]

    assert silent == []
