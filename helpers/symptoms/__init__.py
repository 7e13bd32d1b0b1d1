"""The symptom finder: an error as it was pasted, or a worry in plain words, and the entry or section that explains it.

The table is data, `*.toml`: one file for each notebook of `notebooks/errors/`, and `lessons.toml` for what no error says.
`%load_ext helpers.symptoms` in any notebook shows, under an uncaught error, where it is explained, if that is sure.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from helpers.symptoms.errors import Reading, pattern, plain, read_error
from helpers.symptoms.search import Words

FOLDER = Path(__file__).parent
EMPTY = "Paste an error, the whole of it if you like, or say in a few words what worries you."
NONE = "Nothing fits, and a wrong lead is worse than none. The [index of all messages](errors/README.md) has them by kind."
LIMITS = {"most": 3, "enough": 5_000, "ofAnError": 8_000, "heavy": 1_100}


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


@lru_cache
def words() -> Words:
    """What all entries say, ready to be searched."""
    return Words(rules(), [[entry.name, *entry.messages, *entry.words] for entry in table()])


@lru_cache
def patterns() -> list[list[tuple[re.Pattern[str], int]]]:
    """For each entry its messages as patterns, and how much they say: the number of fixed letters."""
    return [[(re.compile(pattern(m)), len(plain(m.replace("…", "")))) for m in entry.messages] for entry in table()]


def find(text: str, most: int = LIMITS["most"]) -> list[Symptom]:
    """The entries that explain an error's text or a worry in plain words, best first; none rather than a wrong one."""
    reading = read_error(text)
    hits = matches(reading or Reading(plain(text)))
    if reading is None or not hits:
        hits += likely(text, reading)
    return [table()[number] for number in dict.fromkeys(hits)][:most]


def likely(text: str, reading: Reading | None) -> list[int]:
    """The numbers of entries that use the words of a worry; of an error without a message that is known, nearly all of them.

    One word alone is no symptom, unless hardly any entry has it.
    """
    asked = text if reading is None else reading.last.partition(": ")[2]
    ranked = words().rank(asked)
    if len({words().token(word) for word in words().split(asked)}) == 1 and len(ranked) > LIMITS["most"]:
        return []
    enough, heavy = (LIMITS["enough"], 0) if reading is None else (LIMITS["ofAnError"], LIMITS["heavy"])
    top = ranked[0][0] if ranked else 0
    return [number for score, cover, has, number in ranked if cover >= enough and has >= heavy and score * 10 >= top * 6]


def matches(reading: Reading) -> list[int]:
    """The numbers of entries with a message that stands in the error.

    What says something about the cause comes first, then what the last line says, its causes, their further lines; of those
    the longest message.
    """
    found = []
    texts = [[reading.last], reading.causes, [" ".join([reading.last, *reading.further])]]
    for number, (entry, messages) in enumerate(zip(table(), patterns(), strict=True)):
        for place, lines in enumerate(texts):
            fits = [size for regex, size in messages if any(regex.search(line) for line in lines)]
            if fits:
                found.append((entry.common, place, -max(fits), number))
                break
    return [number for *_, number in sorted(found)]


def answer(text: str) -> str:
    """What `find` finds, as Markdown with a link to each section, seen from `notebooks/`."""
    if not text.strip():
        return EMPTY
    lines = [
        f"{k}. **{_escaped(hit.name)}**  \n{_escaped(hit.advice)}  \n[{title(hit)}]({hit.link})"
        for k, hit in enumerate(find(text), 1)
    ]
    return "\n".join(lines) or NONE


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
        listed = [f"- [{_escaped(s.name)}]({_from_errors(s)}): {_escaped(s.advice)}" for s in table() if group(s) == where]
        parts.append(f"## {where.removeprefix('Error by error: ').capitalize()}\n\n" + "\n".join(listed) + "\n")
    return "\n".join(parts)


def _from_errors(entry: Symptom) -> str:
    return entry.link.removeprefix("errors/") if "/" in entry.place else f"../{entry.link}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)


def sure(text: str) -> Symptom | None:
    """The one entry for an error's text, if a message of its own stands there; None if it is only likely."""
    reading = read_error(text)
    hits = matches(reading) if reading else []
    return table()[hits[0]] if hits and not table()[hits[0]].common else None


def load_ipython_extension(shell: Any) -> None:
    """Shows, under the traceback of an uncaught error, where it is explained, if that is sure. IPython's own hook."""

    def explain(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: int | None = None) -> None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        entry = sure(f"{kind.__name__}: {error}")
        if entry:
            print(f"{entry.name}: {entry.advice}\nExplained in notebooks/{entry.link}")

    shell.set_custom_exc((Exception,), explain)


def unload_ipython_extension(shell: Any) -> None:
    """Puts the shell's own way of showing errors back."""
    shell.set_custom_exc((), None)
