"""What a report and its branches should be: plain dictionaries of sections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

Line = tuple[str, int, str, int]
"""A section as a reader sees it: its slug, its position, its text and its version."""


@dataclass(frozen=True)
class Section:
    """A section of the report; a text that is None is that of a removed one.

    `replaced` is the version that its last write found, 0: it found none.
    """

    text: str | None
    position: int
    version: int
    replaced: int = 0


@dataclass(frozen=True)
class Own:
    """A section of a branch: `added` says when it was put where nothing of the branch stood."""

    status: Literal["changed", "removed", "reverted"]
    base: int
    version: int
    text: str = ""
    position: int | None = None
    added: int = 0
    replaced: int = 0


@dataclass
class Report:
    id: UUID
    status: str = "draft"
    version: int = 1
    revision: int = 1
    last_position: int = 0
    sections: dict[str, Section] = field(default_factory=dict[str, Section])
    published: dict[int, list[Line]] = field(default_factory=dict[int, list[Line]])

    def version_of(self, slug: str) -> int:
        section = self.sections.get(slug)
        return section.version if section and section.text is not None else 0

    def lines(self) -> list[Line]:
        shown = [
            (slug, section.position, section.text, section.version)
            for slug, section in self.sections.items()
            if section.text is not None
        ]
        return sorted(shown, key=lambda line: (line[1], line[0]))

    def write(self, slug: str, text: str | None, position: int | None) -> None:
        old = self.sections.get(slug)
        if position is None:
            last = old is None or old.text is None
            position = self.last_position + 1 if old is None or last else old.position
        version = old.version + 1 if old else 1
        self.sections[slug] = Section(text, position, version, self.version_of(slug))
        if text is not None:
            self.last_position = max(self.last_position, position)


@dataclass
class Branch:
    id: UUID
    report: Report
    status: str = "open"
    own: dict[str, Own] = field(default_factory=dict[str, Own])

    def shown(self) -> dict[str, Own]:
        return {slug: own for slug, own in self.own.items() if own.status != "reverted"}

    def version_of(self, slug: str) -> int:
        own = self.shown().get(slug)
        if own is None:
            return self.report.version_of(slug)
        return own.version if own.status == "changed" else 0

    def conflicts(self) -> list[str]:
        if self.status != "open":
            return []
        return sorted(s for s, own in self.shown().items() if own.base != self.report.version_of(s))

    def lines(self) -> list[Line]:
        shown = self.shown()
        lines = [line for line in self.report.lines() if line[0] not in shown]
        places = {line[0]: line[1] for line in self.report.lines()}
        last = self.report.last_position
        for slug, own in sorted(shown.items(), key=lambda item: item[1].added):
            if own.status == "changed":
                place = places.get(slug) if own.position is None else own.position
                if place is None:
                    last = place = last + 1
                lines.append((slug, place, own.text, own.version))
        return sorted(lines, key=lambda line: (line[1], line[0]))

    def written(self, slug: str, text: str, position: int | None, added: int) -> Own:
        """Return what a put, the `added`th, makes of a section."""
        own = self.own.get(slug)
        base, found = self.report.version_of(slug), self.version_of(slug)
        if own is None:
            return Own("changed", base, base + 1, text, position, added, found)
        if own.status == "reverted":
            version = max(own.version, base) + 1
            return Own("changed", base, version, text, position, added, found)
        if own.status == "removed":
            return Own("changed", own.base, own.version + 1, text, position, added, found)
        kept = own.position if position is None else position
        return replace(own, version=own.version + 1, text=text, position=kept, replaced=found)
