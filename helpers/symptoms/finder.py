"""The search: an error by the messages that stand in it, a worry by its words."""

from __future__ import annotations

import re
from functools import lru_cache

from helpers.symptoms.errors import Reading, literal, pattern, plain, read_error, unwrapped
from helpers.symptoms.search import Words
from helpers.symptoms.table import Symptom, escaped, rules, table, title

EMPTY = "Paste an error, the whole of it if you like, or say in a few words what worries you."
NONE = "Nothing fits, and a wrong lead is worse than none. The [index of all messages](errors/README.md) has them by kind."
LIMITS = {
    "most": 3,
    "enough": 5_000,
    "ofAnError": 8_000,
    "heavy": 1_100,
    "begun": 8,
    "long": 7,
    "ofALong": 3_400,
    "same": 9_900,
}


@lru_cache
def words() -> Words:
    """What all entries say, ready to be searched."""
    return Words(rules(), [[entry.name, *entry.messages, *entry.words] for entry in table()])


@lru_cache
def patterns() -> list[list[tuple[re.Pattern[str], int]]]:
    """For each entry its messages as patterns, and how much they say: the number of fixed letters."""
    return [[(re.compile(pattern(m)), len(plain(re.sub("[…^$∎]", "", m)))) for m in entry.messages] for entry in table()]


def find(text: str, most: int = LIMITS["most"]) -> list[Symptom]:
    """The entries that explain an error's text or a worry in plain words, best first; none rather than a wrong one."""
    reading = read_error(text)
    hits = matches(reading or Reading(plain(text)))
    if reading is None:
        hits += begun(plain(text))
    if reading is None or not hits:
        hits += likely(text, reading)
    return [table()[number] for number in dict.fromkeys(hits)][:most]


def begun(text: str) -> list[int]:
    """The numbers of entries with a message in which the text stands, the shortest first: who types is not done yet."""
    if len(text) < LIMITS["begun"]:
        return []
    wanted = re.compile(literal(text))
    lengths = [[len(said) for said in entry_said if wanted.search(said)] for entry_said in messages_said()]
    return sorted((number for number, found in enumerate(lengths) if found), key=lambda number: min(lengths[number]))


@lru_cache
def messages_said() -> list[list[str]]:
    """For each entry its name and its messages, in small letters."""
    return [[plain(said) for said in (entry.name, *entry.messages)] for entry in table()]


def likely(text: str, reading: Reading | None) -> list[int]:
    """The numbers of entries that use the words of a worry. One word alone is no symptom, unless hardly any entry has it.

    Nor is it one where no word says more than that something is loaded or saved, unless an entry says just this. Of a long
    worry a third may do. Of an error whose message is not known nearly all words must fit, and it must be about what the
    entries are about.
    """
    asked = text if reading is None else reading.last.partition(": ")[2]
    ranked = words().rank(asked)
    said, meant = set(words().tokens(asked)), words().meanings(asked)
    if len(said) == 1 and len(ranked) > LIMITS["most"] or reading and not said.intersection(words().subject):
        return []
    top = ranked[0][0] if ranked else 0
    vague = len({*meant}) < 3 and None in meant or not {*meant} - {*words().vague, None}
    if reading is None and vague and top < LIMITS["same"]:
        return []
    enough, heavy = (LIMITS["enough"], 0) if reading is None else (LIMITS["ofAnError"], LIMITS["heavy"])
    if reading is None and len(meant) >= LIMITS["long"]:
        enough, heavy = LIMITS["ofALong"], LIMITS["heavy"]
    return [number for score, cover, has, number in ranked if cover >= enough and has >= heavy and score * 10 >= top * 6]


def matches(reading: Reading) -> list[int]:
    """The numbers of entries with a message that stands in the error.

    What says something about the cause comes first, then what the last line says, its causes, their further lines; of those
    the longest message.
    """
    found = []
    inside = [f"in torch.{reading.inside}: {reading.last}"] if reading.inside else []
    whole = [" ".join([reading.last, *reading.further])] if reading.further else []
    texts = [[*map(unwrapped, lines)] for lines in ([reading.last, *inside], reading.causes, whole)]
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
    said = [f"**{escaped(hit.name)}**  \n{escaped(hit.advice)}  \n[{title(hit)}]({hit.link})" for hit in find(text)]
    return "\n".join(f"{k}. {words}" for k, words in enumerate(said, 1)) or NONE


def sure(text: str) -> Symptom | None:
    """The one entry for an error's text, if a message of its own stands there; None if it is only likely."""
    reading = read_error(text)
    hits = matches(reading) if reading else []
    return table()[hits[0]] if hits and not table()[hits[0]].common else None
