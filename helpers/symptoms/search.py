"""Plain words: stems, synonyms and typing errors, and how well they fit what an entry says. The same as in `finder.js`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any


class Words:
    """The words of all phrases, each with its weight: the rarer, the heavier. Weights are whole numbers."""

    def __init__(self, rules: Mapping[str, Any], phrases: Sequence[Sequence[str]]) -> None:
        self.silent = set(rules["silent"].split())
        self.endings = rules["endings"]
        self.same: dict[str, str] = {}
        for group in rules["synonyms"]:
            for word in group:
                self.same.setdefault(self.stem(word), self.stem(group[0]))
        self.vague = sorted({self.token(word) for word in rules["vague"].split()})
        self.subject = sorted({self.token(word.strip(".")) for word in rules["subject"].split()})
        self.phrases = [[sorted(set(self.tokens(phrase))) for phrase in entry] for entry in phrases]
        self.counts = Counter(token for entry in self.phrases for token in set().union(*entry))
        self.weights = {token: 2 * round(50 * math.log(1 + len(phrases) / n)) for token, n in sorted(self.counts.items())}
        spelt = {word for entry in phrases for phrase in entry for word in self.split(phrase)}.union(*rules["synonyms"])
        self.spelt = {word: token for word in sorted(spelt) if (token := self.token(word)) in self.weights}

    def stem(self, word: str) -> str:
        """The word without its ending."""
        for ending, instead, left in self.endings:
            if word.endswith(ending) and len(word) - len(ending) >= left:
                word = word[: len(word) - len(ending)] + instead
                break
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
            word = word[:-1]
        return word[:-1] if len(word) > 3 and word[-1] == "e" else word

    def split(self, text: str) -> list[str]:
        """The words that say something, as they are spelt: no single letter; those with an underscore, and their parts."""
        found = re.findall(r"[a-z0-9_']+", text.lower())
        parts = [part for word in found for part in dict.fromkeys([word, *word.split("_")])]
        bare = [part.strip("'") for part in parts]
        return [word for word in bare if len(word) > 1 and word not in self.silent]

    def token(self, word: str) -> str:
        """The stem of a word, or of the first of its synonyms."""
        return self.same.get(self.stem(word), self.stem(word))

    def tokens(self, text: str) -> list[str]:
        """All that a text says."""
        return [self.token(word) for word in self.split(text)]

    @cache
    def meant(self, word: str, typing: bool) -> str | None:
        """What a word means: itself, one that it begins, or the nearest with its first letter and almost its spelling."""
        if self.token(word) in self.weights:
            return self.token(word)
        most = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        near = [other for other in self.spelt if typing and len(word) >= 3 and other.startswith(word)] or [
            other
            for other in self.spelt
            if other[0] == word[0] and abs(len(other) - len(word)) <= most and apart(other, word) <= most
        ]
        best = min(near, key=lambda other: (-self.counts[self.spelt[other]], other), default=None)
        return self.spelt[best] if best else None

    def meanings(self, text: str) -> list[str | None]:
        """What each different word of a search means, in order; None for one that no entry has."""
        asked = list(dict.fromkeys(self.split(text)))
        return [self.meant(word, word == asked[-1]) for word in asked]

    def rank(self, text: str) -> list[tuple[int, int, int, int]]:
        """For each entry that has one of the words: its score and what of the search it covers, in parts of 10,000.

        Then the weight of the words that it has, and its number; best first.
        """
        meant = self.meanings(text)
        wanted = {token for token in meant if token}
        need = self.weigh(wanted) + max(self.weights.values(), default=0) * meant.count(None) // 2
        ranked = []
        for number, entry in enumerate(self.phrases):
            has = self.weigh(wanted & set().union(*entry))
            if has:
                best = max(self.near(wanted, phrase, need) for phrase in entry)
                ranked.append((6 * (10_000 * has // need) // 10 + 4 * best // 10, 10_000 * has // need, has, number))
        return sorted(ranked, key=lambda item: (-item[0], item[3]))

    def weigh(self, tokens: Iterable[str]) -> int:
        """The sum of their weights."""
        return sum(self.weights[token] for token in tokens)

    def near(self, wanted: set[str], phrase: Sequence[str], need: int) -> int:
        """How like a phrase is to what is wanted, the cosine of their words, in parts of 10,000."""
        have = self.weigh(phrase)
        return 10_000 * self.weigh(wanted.intersection(phrase)) // max(1, math.isqrt(need * have))


def apart(one: str, other: str) -> int:
    """Letters to put in, take out, change or swap with their neighbour (Damerau and Levenshtein's distance, aligned)."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, letter_there in enumerate(other, 1):
            cost = letter != letter_there
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + cost))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == letter_there:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
