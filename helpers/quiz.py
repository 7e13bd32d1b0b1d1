"""Predictions and exercises: ask, check, say what was wrong, hint. Nothing here raises at the learner."""

from __future__ import annotations

import dis
import os
import socket
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType
from typing import Any

import ipywidgets

from helpers.draw import Picture, svg
from helpers.view import View, button, line_of, note

STATES = {"right": ("#2f6f4f", "✓ Right."), "wrong": ("#a8461a", "✗ Not yet."), "untried": (svg.SOFT, "○ Not tried yet.")}
RETURNED = ("RETURN_VALUE",)
CALLED = (*RETURNED, "PRECALL", "CALL")


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
        reply = ipywidgets.HTML("<p style='margin:4px 0'>Click what you expect, then run the next cell.</p>")
        buttons = [button(choice.words) for choice in self.choices]

        def answer(clicked: ipywidgets.Button) -> None:
            reply.value = self.judge(buttons.index(clicked)).html

        for choice in buttons:
            choice.on_click(answer)
        question = ipywidgets.HTML(f"<p style='font-size:1.15em;margin:4px 0'><b>Predict.</b> {svg.escape(self.question)}</p>")
        choices = [f"{'ABCDE'[k]}   {choice.words}" for k, choice in enumerate(self.choices)]
        return View([question, *buttons, reply], _still("Predict", [self.question, *choices]))


@dataclass(frozen=True)
class Verdict:
    """`state` is `right`, `wrong` or `untried`; `message` says why, in words about the answer."""

    state: str
    message: str = ""

    @property
    def words(self) -> str:
        """The verdict on one line."""
        return f"{STATES[self.state][1]} {self.message}".strip()

    @property
    def html(self) -> str:
        """The verdict as it is shown."""
        return note(*STATES[self.state], self.message)


@dataclass(frozen=True)
class Exercise:
    """A task with hints. `fault` takes the answer and returns what is wrong with it, or None; `rule` is said when right."""

    name: str
    rule: str
    hints: tuple[str, ...]
    fault: Callable[[Any], str | None]

    def judge(self, answer: Any) -> Verdict:
        """The verdict on any answer at all; a `...`, alone, returned, or given to a call in __init__, is the blank."""
        try:
            if _blank(answer):
                return Verdict("untried", "Replace the ... with your answer, and run the cell again.")
            wrong = self.fault(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Verdict("wrong", f"Your answer failed when it was tried: {line_of(error)}")
        return Verdict("wrong", wrong) if wrong else Verdict("right", self.rule)

    def check(self, answer: Any) -> View:
        """The verdict, with a button that unfolds the hints one by one."""
        verdict = self.judge(answer)
        told = _tell_the_class(self.name, verdict.state)
        page, hints, more = ipywidgets.HTML(verdict.html), ipywidgets.HTML(), button(f"Hint 1 of {len(self.hints)}")

        def unfold(_: object) -> None:
            unfolded = hints.value.count("<li>") + 1
            lines = "".join(f"<li>{svg.escape(hint)}</li>" for hint in self.hints[:unfolded])
            hints.value = f"<ol style='line-height:1.45'>{lines}</ol>"
            more.disabled = unfolded >= len(self.hints)
            more.description = f"Hint {min(unfolded + 1, len(self.hints))} of {len(self.hints)}"

        more.on_click(unfold)
        children = [page, *told] if verdict.state == "right" else [page, more, hints, *told]
        return View(children, _still(f"Exercise: {self.name}", [verdict.words]))


def _tell_the_class(exercise: str, state: str) -> list[ipywidgets.HTML]:
    """Where a teacher asked for it (see deploy/README.md): tells that it was tried, and the learner that it was told."""
    if not (place := os.environ.get("CLASS_PROGRESS")) or state == "untried":
        return []
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.settimeout(1)
        line.sendto(f"{state} {exercise}".encode(), place)
    words = "Your teacher sees that you tried this, and whether it is right; not your answer."
    return [ipywidgets.HTML(note(svg.SOFT, "", words))]


def _blank(answer: Any) -> bool:
    if isinstance(answer, tuple):
        return any(_blank(part) for part in answer)
    if isinstance(answer, Mapping):
        return bool(answer) and all(part is ... for part in answer.values())
    made, ends = (vars(answer).get("__init__"), CALLED) if isinstance(answer, type) else (answer, RETURNED)
    code = getattr(made, "__code__", None)
    return answer is ... or isinstance(code, CodeType) and _ends_in_blank(code, ends)


def _ends_in_blank(code: CodeType, ends: tuple[str, ...]) -> bool:
    """Whether a `...` is returned, or goes straight into one of the other `ends`; as an index it does neither."""
    steps = [*dis.get_instructions(code)]
    pairs = pairwise([*steps, steps[-1]])
    return any(step.argval is ... and (step.opname == "RETURN_CONST" or after.opname in ends) for step, after in pairs)


def _still(title: str, paragraphs: list[str]) -> Picture:
    lines = [line for words in paragraphs for line in textwrap.wrap(words, 88)]
    body = "".join(svg.text(28, 70 + 26 * k, line, 15) for k, line in enumerate(lines))
    return svg.card(830, 78 + 26 * len(lines), title, " ".join(paragraphs), body)
