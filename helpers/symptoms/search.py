"""Plain words: stems, synonyms and typing errors, and how well they fit what an entry says. The same as in `finder.js`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        self.phrases = [[sorted(set(self.tokens(phrase))) for phrase in entry] for entry in phrases]
        told = Counter(token for entry in self.phrases for token in {token for phrase in entry for token in phrase})
        self.weights = {token: 2 * round(50 * math.log(1 + len(phrases) / count)) for token, count in sorted(told.items())}
        self.counts = dict(told)

    def stem(self, word: str) -> str:
        """The word without its ending."""
        for ending, instead, left in self.endings:
            if word.endswith(ending) and len(word) - len(ending) >= left:
                word = word[: len(word) - len(ending)] + instead
                break
        if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
            word = word[:-1]
        return word[:-1] if len(word) > 3 and word[-1] == "e" else word

    def tokens(self, text: str) -> list[str]:
        """The words that say something, as stems, each synonym as the first of its group."""
        found = re.findall(r"[a-z0-9_']+", text.lower())
        parts = [part for word in found for part in ([word] if self.stem(word) in self.same else word.split("_"))]
        stems = [self.stem(part.strip("'")) for part in parts if part.strip("'") and part.strip("'") not in self.silent]
        return [self.same.get(stem, stem) for stem in stems]

    def known(self, token: str, typing: bool) -> str | None:
        """The word that was meant: itself, one that it begins, or the nearest that is spelt in almost the same way."""
        if token in self.weights:
            return token
        begun = [word for word in self.weights if typing and len(token) >= 3 and word.startswith(token)]
        most = 0 if len(token) < 4 else 1 if len(token) < 8 else 2
        near = begun or [word for word in self.weights if abs(len(word) - len(token)) <= most and apart(word, token) <= most]
        return min(near, key=lambda word: (-self.counts[word], word), default=None)

    def rank(self, text: str) -> list[tuple[int, int, int, int]]:
        """For each entry that has one of the words: its score and what of the search it covers, in parts of 10,000.

        Then the weight of the words that it has, and its number; best first.
        """
        asked = list(dict.fromkeys(self.tokens(text)))
        meant = [self.known(token, token == asked[-1]) for token in asked]
        wanted = {token for token in meant if token}
        need = self.weigh(wanted) + max(self.weights.values(), default=0) * meant.count(None) // 2
        ranked = []
        for number, entry in enumerate(self.phrases):
            has = self.weigh(wanted & {token for phrase in entry for token in phrase})
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
