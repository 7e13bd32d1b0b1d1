"""A finding as a value, and a list of them as text in a terminal and as a card in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from helpers.compare import Pair
from helpers.symptoms import table

LEVELS = {"ok": ("ok ", "#2f6f4f"), "look": ("see", "#7a5b00"), "bad": ("BAD", "#a8461a")}


@dataclass(frozen=True)
class Finding:
    """What was found, why it is so, `code` to paste that cures it, the `place` that explains it, and how sure it is.

    `sure` is `certain`, `likely` or `cannot be told`; `level` is `ok`, `look` (it needs a look) or `bad`.
    """

    what: str
    why: str
    code: str = ""
    place: str = ""
    sure: str = "certain"
    level: str = "ok"

    @property
    def words(self) -> str:
        """The finding as it stands in a terminal."""
        doubt = "" if self.sure == "certain" else f" ({self.sure})"
        lines = textwrap.wrap(self.what + doubt, 92, initial_indent=f"{LEVELS[self.level][0]}  ", subsequent_indent=" " * 5)
        lines += textwrap.wrap(self.why, 92, initial_indent=" " * 5, subsequent_indent=" " * 5)
        lines += textwrap.indent(self.code, " " * 8).splitlines()
        return "\n".join([*lines, *[f"     Explained in {self.place}"] * bool(self.place)])


class Findings(list[Finding]):
    """Findings in order, and the `pairs` of keys where a model was given."""

    def __init__(self, findings: Iterable[Finding], pairs: Sequence[Pair] = ()) -> None:
        super().__init__(findings)
        self.pairs = list(pairs)

    def __str__(self) -> str:
        return "\n".join(finding.words for finding in self)

    @property
    def code(self) -> str:
        """The last code that was given: what to paste."""
        return next((finding.code for finding in reversed(self) if finding.code), "")

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html}

    @property
    def html(self) -> str:
        """A card, with the key diff under it where a model was given."""
        from helpers import draw
        from helpers.draw import svg

        parts = []
        for one in self:
            doubt = f" <i>({one.sure})</i>" if one.sure != "certain" else ""
            code = f"<pre style='background:#f3f4f1;color:{svg.INK};padding:8px;overflow-x:auto'>{svg.escape(one.code)}</pre>"
            place = f"<div><small>Explained in <code>{svg.escape(one.place)}</code></small></div>" if one.place else ""
            lines = f"<b>{svg.escape(one.what)}</b>{doubt}<br>{svg.escape(one.why)}"
            bar = f"border-left:6px solid {LEVELS[one.level][1]};padding:6px 14px;margin:6px 0"
            parts.append(f"<div style='{bar}'>{lines}{code if one.code else ''}{place}</div>")
        style = f"background:{svg.CARD};color:{svg.INK};border-radius:10px;padding:8px;line-height:1.45;max-width:60em"
        diff = draw.key_diff("Key by key", self.pairs).svg if self.pairs else ""
        return f"<div style='{style}' role='status'>{''.join(parts)}</div>{diff}"


def explained(what: str, why: str, address: str, code: str = "", sure: str = "certain", level: str = "bad") -> Finding:
    """A finding whose place is an entry of the finder. Raises ValueError for an address that there is not."""
    return Finding(what, why, code, place_of(address), sure, level)


def place_of(address: str) -> str:
    """The file and heading of an entry of the finder. Raises ValueError for an address that there is not."""
    for entry in table():
        if entry.address == address:
            return f"notebooks/{entry.place}.ipynb, {entry.section!r}"
    raise ValueError(f"Got {address!r}; wanted an address of the finder.")


def importing(code: str) -> str:
    """The code, with torch imported first where it needs it and does not yet."""
    return code if "import torch\n" in code or "torch." not in code else f"import torch\n{code}"
