"""The pages of the site that are made and not written: the reference, the examples, the sources.

A page may link to any file of the project. What lies outside docs/ gets a page of its own on the
site, so that a link leads to the same thing there and where the files themselves are browsed.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# mkdocs loads a hook by its path, without the folder that it lies in.
sys.path.insert(0, str(Path(__file__).parent))
from diagrams import drawn_diagrams, with_drawn_diagrams
from public_modules import ROOT, PublicModule, public_modules, shared_models

_LINK = re.compile(r"\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
_LANGUAGES = {".py": "python", ".sql": "sql", ".toml": "toml", ".css": "css"}
_DOCUMENTS = {"CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}
_SOURCES = "source/"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the made pages to the navigation."""
    reference: list[Any] = ["reference/index.md"]
    reference += [{_short(each): _reference(each)} for each in public_modules()]
    config.nav = [
        *(config.nav or []),
        {"Reference": reference},
        {"Examples": [{path.stem: _page_of(path)} for path in _examples()]},
        {"Changes": "changes.md"},
        {"Contributing": "contributing.md"},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages, and the diagrams of those that are written."""
    pages = {"reference/index.md": _reference_index()}
    pages |= {_reference(each): _reference_page(each) for each in public_modules()}
    pages |= {_page_of(path): _source_page(path) for path in {*_examples(), *_linked_sources()}}
    pages |= {uri: (ROOT / name).read_text(encoding="utf-8") for name, uri in _DOCUMENTS.items()}
    for page in files.documentation_pages():
        pages |= drawn_diagrams(page.content_string, page.src_uri)
    for uri, content in sorted(pages.items()):
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Show diagrams as pictures, and lead links between files of the project to their pages."""
    uri = page.file.src_uri
    sources = {uri: name for name, uri in _DOCUMENTS.items()}
    source = sources.get(uri, f"docs/{uri}")

    def relink(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        link = posixpath.relpath(_uri_of(target), posixpath.dirname(uri) or ".")
        return f"]({link}{match[2] or ''})"

    return with_drawn_diagrams(_LINK.sub(relink, markdown), uri)


def _uri_of(target: str) -> str:
    """Return the page of a file of the project, named by its path from the top."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return _DOCUMENTS.get(target) or _page_of(ROOT / target)


def _page_of(path: Path) -> str:
    return f"{_SOURCES}{path.relative_to(ROOT)}.md"


def _examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.py"))


def _linked_sources() -> Iterator[Path]:
    documents = [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in _DOCUMENTS)]
    for document in documents:
        for match in _LINK.finditer(document.read_text(encoding="utf-8")):
            path = (document.parent / match[1]).resolve()
            if path.is_file() and path.suffix != ".md" and not path.is_relative_to(ROOT / "docs"):
                yield path


def _source_page(path: Path) -> str:
    language = _LANGUAGES.get(path.suffix, "sh")
    text = path.read_text(encoding="utf-8")
    return f"# {path.relative_to(ROOT)}\n\n````{language}\n{text}````\n"


def _short(module: PublicModule) -> str:
    return module.name.removeprefix("runstore.")


def _reference(module: PublicModule) -> str:
    return f"reference/{_short(module)}.md"


def _reference_page(module: PublicModule) -> str:
    return f"# runstore.{_short(module)}\n\n::: {module.name}\n"


def _reference_index() -> str:
    rows = "\n".join(
        f"| [{_short(each)}]({_short(each)}.md) | {each.subject} |" for each in public_modules()
    )
    members = "".join(f"        - {name}\n" for name in shared_models())
    shared = f"::: runstore._models\n    options:\n      members:\n{members}"
    return (
        "# Reference\n\nMade from the docstrings. Every name of `runstore.__all__` is imported from"
        " `runstore`; the module says where it is defined.\n\nEvery function takes a connection"
        " of psycopg first. On a blocking one it answers; on an asyncio one its answer is"
        f" awaited.\n\n| module | |\n| --- | --- |\n{rows}\n\n{shared}"
    )
