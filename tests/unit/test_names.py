"""The public names are there when they are used, and what they are does not depend on that."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import runstore
from runstore._places import PLACES

pytestmark = pytest.mark.once

SOURCE = Path(runstore.__file__).read_text(encoding="utf-8")


def imported_for_type_checkers() -> dict[str, str]:
    [block] = [
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {name.name: str(node.module) for node in imports for name in node.names}


def fresh(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_type_checker_and_a_program_see_the_same_names() -> None:
    assert imported_for_type_checkers() == PLACES
    assert set(runstore.__all__) == set(PLACES)


@pytest.mark.parametrize("name", runstore.__all__)
def test_a_name_is_what_its_module_defines(name: str) -> None:
    value = getattr(runstore, name)

    assert value.__name__ == name
    assert value is getattr(import_module(f"runstore.{PLACES[name]}"), name)


def test_a_module_is_there_without_an_import_of_its_own() -> None:
    program = "import runstore; print(runstore.runs.get_run is runstore.get_run)"

    assert fresh(program) == "True"


def test_a_star_import_and_dir_name_everything() -> None:
    program = "import runstore; before = dir(runstore); from runstore import *; print({})"
    missing = "[n for n in runstore.__all__ if n not in before or n not in globals()]"

    assert fresh(program.format(missing)) == "[]"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'runstore' has no attribute 'creat_run'"):
        getattr(runstore, "creat_run")  # noqa: B009 - a type checker knows that it is not there.


@pytest.mark.parametrize("absent", ["psycopg", "pydantic", "orjson", "asyncio", "runstore.runs"])
def test_an_import_alone_loads_nothing(absent: str) -> None:
    assert fresh(f"import runstore, sys; print({absent!r} in sys.modules)") == "False"


def test_a_program_loads_the_modules_that_it_uses() -> None:
    program = "import sys; from runstore import get_run; print([n in sys.modules for n in {}])"
    modules = ["runstore.runs", "runstore.reports", "runstore.connections", "psycopg_pool"]

    assert fresh(program.format(modules)) == "[True, False, False, False]"
