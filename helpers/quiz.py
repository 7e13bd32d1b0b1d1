"""Predictions and exercises: ask, check, say what was wrong, hint. Nothing here raises at the learner."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets

from helpers.draw import svg
from helpers.draw.svg import Picture
from helpers.view import View

COLORS = {"right": "#2f6f4f", "wrong": "#a8461a", "untried": svg.SOFT}
SIGNS = {"right": "✓ Right.", "wrong": "✗ Not yet.", "untried": "○ Not tried yet."}


@dataclass(frozen=True)
class Choice:
    """One answer to a prediction and what to say to somebody who gives it."""

    words: str
    reply: str
    right: bool = False


@dataclass(frozen=True)
class Prediction:
    """A question asked before the cell that answers it. Exactly one choice is right."""

    question: str
    choices: tuple[Choice, ...]

    def judge(self, number: int) -> Verdict:
        """What to say to choice `number`, counted from 0. Raises ValueError if there is no such choice."""
        if not 0 <= number < len(self.choices):
            raise ValueError(f"Got choice {number}; wanted 0 to {len(self.choices) - 1}.")
        choice = self.choices[number]
        return Verdict("right" if choice.right else "wrong", choice.reply)

    def ask(self) -> View:
        """The question with a button for each choice; a click is answered at once."""
        reply = ipywidgets.HTML(_note("Click what you expect, then run the next cell."))
        buttons = [
            ipywidgets.Button(description=choice.words, layout={"width": "auto", "align_self": "flex-start"})
            for choice in self.choices
        ]

        def answer(clicked: ipywidgets.Button) -> None:
            reply.value = _words(self.judge(buttons.index(clicked)))

        for button in buttons:
            button.on_click(answer)
        question = ipywidgets.HTML(f"<p style='font-size:1.15em;margin:4px 0'><b>Predict.</b> {escape(self.question)}</p>")
        choices = [f"{'ABCDE'[k]}   {choice.words}" for k, choice in enumerate(self.choices)]
        return View([question, *buttons, reply], _still("Predict", [self.question, *choices]))


@dataclass(frozen=True)
class Verdict:
    """`state` is `right`, `wrong` or `untried`; `message` says why, in words about the answer."""

    state: str
    message: str = ""

    @property
    def words(self) -> str:
        return f"{SIGNS[self.state]} {self.message}".strip()


@dataclass(frozen=True)
class Exercise:
    """A task with hints. `fault` takes the answer and returns what is wrong with it, or None; `rule` is said when right."""

    name: str
    rule: str
    hints: tuple[str, ...]
    fault: Callable[[Any], str | None]

    def judge(self, answer: Any) -> Verdict:
        """The verdict on any answer at all; a `...`, also in a function or in a class's __init__, is the untouched blank."""
        if _blank(answer):
            return Verdict("untried", "Replace the ... with your answer, and run the cell again.")
        try:
            wrong = self.fault(answer)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            return Verdict("wrong", f"Your answer failed when it was tried: {type(error).__name__}: {reason}")
        return Verdict("wrong", wrong) if wrong else Verdict("right", self.rule)

    def check(self, answer: Any) -> View:
        """The verdict, with a button that unfolds the hints one by one."""
        verdict = self.judge(answer)
        said = ipywidgets.HTML(_words(verdict))
        hints = ipywidgets.HTML()
        button = ipywidgets.Button(
            description=f"Hint 1 of {len(self.hints)}", layout={"width": "auto", "align_self": "flex-start"}
        )

        def unfold(_: object) -> None:
            shown = hints.value.count("<li>") + 1
            hints.value = _list(self.hints[:shown])
            button.disabled = shown >= len(self.hints)
            button.description = f"Hint {min(shown + 1, len(self.hints))} of {len(self.hints)}"

        button.on_click(unfold)
        children = [said] if verdict.state == "right" else [said, button, hints]
        return View(children, _still(f"Exercise: {self.name}", [verdict.words]))


def _blank(answer: Any) -> bool:
    if isinstance(answer, tuple):
        return any(_blank(part) for part in answer)
    if isinstance(answer, Mapping):
        return bool(answer) and all(part is ... for part in answer.values())
    code = getattr(answer.__init__ if isinstance(answer, type) else answer, "__code__", None)
    return answer is ... or Ellipsis in getattr(code, "co_consts", ())


def _words(verdict: Verdict) -> str:
    return (
        f"<p style='font-size:1.1em;line-height:1.45;max-width:46em;margin:4px 0;padding:8px 14px;"
        f"background:{svg.CARD};color:{svg.INK};border-left:6px solid {COLORS[verdict.state]}' role='status'>"
        f"<b>{SIGNS[verdict.state]}</b> {escape(verdict.message)}</p>"
    )


def _note(words: str) -> str:
    return f"<p style='margin:4px 0'>{escape(words)}</p>"


def _list(hints: tuple[str, ...]) -> str:
    return "<ol style='line-height:1.45'>" + "".join(f"<li>{escape(hint)}</li>" for hint in hints) + "</ol>"


def _still(title: str, paragraphs: list[str]) -> Picture:
    lines = [line for words in paragraphs for line in textwrap.wrap(words, 88)]
    body = "".join(svg.text(28, 70 + 26 * k, line, 15) for k, line in enumerate(lines))
    return svg.card(830, 78 + 26 * len(lines), title, " ".join(paragraphs), body)
