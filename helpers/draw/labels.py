"""Words that fit: what XML cannot hold is escaped, what is too long is shortened where it agrees."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from os.path import commonprefix

NOT_XML = re.compile("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def shown(words: object) -> str:
    """The words, with what XML cannot hold written out."""
    return NOT_XML.sub(lambda match: ascii(match[0])[1:-1], str(words))


def escape(words: object) -> str:
    """Words as XML and HTML hold them."""
    return html.escape(shown(words))


def clip(words: object, length: int) -> str:
    """At most `length` characters, with the middle left out and said so."""
    line = shown(words).replace("\n", " ")
    if len(line) <= length:
        return line
    head = (length - 1) // 2
    return f"{line[:head]}…{line[len(line) - (length - 1 - head) :]}"


def shorten(keys: Iterable[str], length: int) -> dict[str, str]:
    """A label for each key, no two alike, of at most `length` characters where that is enough to tell them apart.

    Keys are shortened where they agree, never where they differ.
    """
    labels = {key: clip(key, length) for key in keys}
    for label in [label for label, count in Counter(labels.values()).items() if count > 1]:
        group = [key for key in labels if labels[key] == label]
        paths = [key.split(".") for key in group]
        agree = [len(set(names)) == 1 for names in zip(*paths)]
        if len(set(map(len, paths))) > 1:
            agree = agree[: [*agree, False].index(False)]
        start = len(commonprefix(group))
        for key, path in zip(group, paths):
            line = _without_what_agrees(path, agree, length)
            labels[key] = line if len(line) <= 2 * length else "…" + clip(key[start:], length - 1)
    count = Counter(labels.values())
    return {key: f"{label} #{k}" if count[label] > 1 else label for k, (key, label) in enumerate(labels.items(), 1)}


def _without_what_agrees(path: list[str], agree: list[bool], length: int) -> str:
    """The path, with the first names left out of those that agree, until it is short enough."""
    names = list(path)
    for k, alike in enumerate([*agree, False]):
        line = re.sub(r"…(\.…)+", "…", shown(".".join(names)))
        if len(line) <= length:
            break
        names[k : k + 1] = ["…"] if alike else names[k : k + 1]
    return line
