"""An error as a person reads it: what was raised last, what came before it, and nothing of frames, code or log prefixes.

The same rules stand in `publish/static/finder.js`; what both need as data is in `rules.toml`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

COLORS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
LOG = re.compile(
    r"^(?:\[[^\]]{1,60}\]:?|\d{4}-\d\d-\d\d[T ]?|\d\d:\d\d:\d\d[\d.,]*Z?|(?:error|info|warning|critical|debug|fatal)\b[:\s|-]"
    r"|[\w./-]+\.py:\d+[:\s-]|[|>-])\s*",
    re.IGNORECASE,
)
TRACEBACK = "Traceback (most recent call last)"
CHAINED = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
FRAME = re.compile(r"^\s*(?:File .*, line \d+|File .*:\d+,? in |Cell In\s*\[|Input In\s*\[|<ipython-input|-+> ?\d+ |~?\^+)")
HEAD = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Warning|Interrupt|Exit|StopIteration|BadZipFile|Failure)(?::\s|:?\s*$)"
)
OUTSIDE = re.compile(r"^\s*File (?!.*\btorch[/\\])")
INSIDE = re.compile(r"\btorch[/\\](?:_weights_only_)?(optim|serialization|unpickler|jit|amp)\b")
IMPORTING = re.compile(r"^\s*(?:from \S+ )?import \w")
KEYS = re.compile(r'(?:missing|unexpected) key\(s\) in state_dict: "(module\.)?')
LISTS = r"missing key\(s\)|unexpected key\(s\)|size mismatch for"
GAP = f"(?:[^mus]|(?!{LISTS})[mus])*?"


@dataclass(frozen=True)
class Reading:
    """The lines that tell what happened, small and in one line each: the last error's, its causes', and their further lines.

    `inside` is the part of torch that raised it, if the traceback tells: optim, serialization, its unpickler, jit or amp.
    """

    last: str
    inside: str = ""
    causes: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


def read_error(text: str) -> Reading | None:
    """What an error's text says, or None if it is not the text of an error. A program's own import that fails says nothing."""
    errors: list[list[str]] = []
    places: list[str] = []
    inside, marked, place, code, loading = False, False, "", "", False
    for raw in COLORS.sub("", text).replace("\r", "").split("\n"):
        line = unlogged(raw)
        if TRACEBACK in line or CHAINED.match(line.strip()) or FRAME.match(line):
            inside, loading = False, "serialization" in line or loading and TRACEBACK not in line
            found = INSIDE.search(line)
            place = found[1] if found else "" if OUTSIDE.match(line) else place
        elif HEAD.match(line):
            errors.append(["" if "No module named" in line and IMPORTING.match(code) and not loading else line])
            places.append(place)
            inside, marked, place, code = True, line != raw, "", ""
        elif inside and line.strip() and (line != raw) == marked:
            errors[-1].append(line)
        else:
            code = line
    if not errors:
        return None
    causes = tuple(plain(error[0]) for error in reversed(errors[:-1]))
    further = tuple(plain(line) for error in reversed(errors) for line in error[1:])
    return Reading(plain(errors[-1][0]), places[-1], causes, further)


def unlogged(line: str) -> str:
    """The line without what a logger, a launcher or a shell wrote before it."""
    shorter = LOG.sub("", line, count=1)
    while shorter != line and HEAD.match(line) is None:
        line, shorter = shorter, LOG.sub("", shorter, count=1)
    return line


def plain(words: str) -> str:
    """Small letters, straight quotes, single spaces."""
    straight = words.lower().translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x60: "'"})
    return " ".join(straight.split())


def unwrapped(words: str) -> str:
    """Without the `module.` that stands on both sides, or in the one list of a DataParallel: it is not what differs."""
    lists = KEYS.findall(words)
    both = len(lists) > 1 or re.search(r"state_dict for (?:distributed)?dataparallel:", words)
    return words.replace('"module.', '"') if lists and all(lists) and both else words


def literal(words: str) -> str:
    """A regular expression that finds these words, as whole ones."""
    escaped = re.escape(words).replace("\\ ", " ")
    return re.sub(r"^(?=\w)", "(?<![a-z0-9_])", re.sub(r"(?<=\w)$", "(?![a-z0-9_])", escaped))


def pattern(message: str) -> str:
    """A regular expression, the same in Python and JavaScript, that finds the message's parts as whole words, in order.

    A `^` says that nothing stands before, a `$` at the end that nothing follows, a `∎` that no other list of `load_state_dict`
    does; a `…` does not lead into another either. `@` and `%` are a key or a number, the same at each place, `~` is any words,
    `#` any whole number.
    A message that begins with `in torch.optim:` or `in torch.serialization:` counts if the traceback ends there.
    """
    parts = [literal(plain(part)) for part in message.strip("^$∎").split("…") if part.strip()]
    words = GAP.join(parts).replace("\\~", '[^"]*?').replace("\\#", "[0-9]+")
    for number, letter in enumerate(filter(words.__contains__, "@%"), 1):
        words = words.replace(letter, r'([^"\], ]+)', 1).replace(letter, f"\\{number}")
    end = {"$": ":?$", "∎": f"(?!.*(?:{LISTS}))"}.get(message[-1:], "")
    return "^" * message.startswith("^") + words + end
