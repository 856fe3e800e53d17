"""The diagrams of the site: drawn when it is built, so that a page loads no program to draw them.

On pages they are Mermaid, which is text that can be reviewed, and which code hosts draw too.
"""

from __future__ import annotations

import re
from itertools import count
from pathlib import PurePosixPath

import mmdr

_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS = "%%{init: {'theme': 'neutral', 'fontFamily': 'sans-serif'}}%%\n"


def drawn_diagrams(markdown: str, uri: str) -> dict[str, str]:
    """Return the diagrams of a page as SVG, by the addresses that they have on the site."""
    sources = _BLOCK.findall(markdown)
    return {
        _address(uri, number): mmdr.render(_SETTINGS + source).svg()
        for number, source in enumerate(sources, 1)
    }


def with_drawn_diagrams(markdown: str, uri: str) -> str:
    """Put the drawn diagrams of a page in the place of their sources.

    They may be wider than a page: then they scroll in their frame, and open by themselves.
    """
    numbers = count(1)

    def picture(match: re.Match[str]) -> str:
        address = PurePosixPath(_address(uri, next(numbers))).name
        return (
            f'<div class="drawn" tabindex="0" markdown>\n\n![Diagram]({address})\n\n</div>\n\n'
            f"[The diagram by itself]({address})"
        )

    return _BLOCK.sub(picture, markdown)


def _address(uri: str, number: int) -> str:
    return str(PurePosixPath(uri).with_suffix(f".{number}.svg"))
