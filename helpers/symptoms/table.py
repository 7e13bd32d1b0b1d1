"""The finder's table: a `*.toml` for each notebook of `notebooks/errors/`, and `lessons.toml` for what no error says."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Symptom:
    """One entry. `place` is a notebook under `notebooks/`, without its ending, `section` a heading in it.

    `messages` are fixed parts of an error's text, `…` standing for anything between two; `words` is what people say for it.
    `address` never changes. A `common` message says nothing about its cause: any other that fits comes first.
    """

    name: str
    address: str
    place: str
    section: str
    advice: str
    messages: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    common: bool = False

    @property
    def link(self) -> str:
        """Where JupyterLab finds the section, seen from `notebooks/`."""
        return f"{self.place}.ipynb#{self.section.replace(' ', '-')}"


@lru_cache
def table() -> tuple[Symptom, ...]:
    """All entries, in the order of their files. Raises ValueError for one that lacks something, and names it."""
    found: list[Symptom] = []
    for path in sorted(FOLDER.glob("*.toml")):
        for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("entry", []):
            given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
            if path.stem != "lessons":
                given = {"place": f"errors/{path.stem}", "section": entry.get("name"), **given}
            try:
                found.append(Symptom(**given))
            except TypeError as error:
                raise ValueError(f"{path.name}, {entry.get('name')!r}: {error}") from error
    return tuple(found)


@lru_cache
def rules() -> dict[str, Any]:
    """Silent words, endings and synonyms."""
    return tomllib.loads((FOLDER / "rules.toml").read_text(encoding="utf-8"))


def title(entry: Symptom) -> str:
    """Where an entry stands, in words."""
    return group(entry) if "/" in entry.place else f"Lesson {entry.place[:2]}: {entry.section}"


def group(entry: Symptom) -> str:
    """The notebook of `errors/` that an entry stands in, or the lessons."""
    folder, _, name = entry.place.rpartition("/")
    return f"Error by error: {name.replace('_', ' ')}" if folder else "The lessons"


def groups() -> list[str]:
    """All groups, in order."""
    return list(dict.fromkeys(map(group, table())))


def index() -> str:
    """All entries by kind, as Markdown with links seen from `notebooks/errors/`."""
    parts = ["# Error by error: all messages\n\nThe finder in [lesson 00](../00_start_here.ipynb) searches them.\n"]
    for where in groups():
        listed = [f"- [{escaped(s.name)}]({_from_errors(s)}): {escaped(s.advice)}" for s in table() if group(s) == where]
        parts.append(f"## {where.removeprefix('Error by error: ').capitalize()}\n\n" + "\n".join(listed) + "\n")
    return "\n".join(parts)


def _from_errors(entry: Symptom) -> str:
    return entry.link.removeprefix("errors/") if "/" in entry.place else f"../{entry.link}"


def escaped(text: str) -> str:
    """Words as Markdown shows them."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)
