"""Predictions and exercises as mechanism: verdicts, blanks, hints, stills. Contents are tested in tests/exercises."""

import pytest

from helpers.quiz import Choice, Exercise, Prediction

TWO = Exercise("Two", "One and one.", ("Count.", "Count again."), lambda x: None if x == 2 else f"{x} is not it.")
ASK = Prediction("1 + 1?", (Choice("2", "Yes.", True), Choice("11", "That joins strings.")))


def raises(answer):
    raise KeyError("weight")


def test_verdicts():
    assert (TWO.judge(2).state, TWO.judge(2).message) == ("right", "One and one.")
    assert (TWO.judge(3).state, TWO.judge(3).message) == ("wrong", "3 is not it.")
    assert ASK.judge(0).state == "right" and ASK.judge(1).message == "That joins strings."


def blank_function(x):
    return ...


def blank_after_a_start(x):
    y = x + 1
    print(y)
    return ...


class BlankClass:
    def __init__(self):
        super().__init__()
        self.register(...)


BLANKS = [..., (..., ...), (1, ...), {"a": ..., "b": ...}, blank_function, blank_after_a_start, BlankClass, lambda x: ...]


@pytest.mark.parametrize("blank", BLANKS)
def test_the_untouched_blank_is_not_tried_yet(blank):
    verdict = TWO.judge(blank)
    assert verdict.state == "untried" and verdict.words.startswith("○ Not tried yet.")
    assert "One and one" not in verdict.words


def index(p):
    return p[..., 0]


def write(state):
    state["2.bias"][...] = 5


def whole(p):
    return p[...]


def call(p):
    return p.__getitem__(...)


class Indexed:
    def __init__(self, weight):
        self.weight = weight[...]
        self.weight[..., 0] = 1


class Ellipsed:
    blank: object = ...


@pytest.mark.parametrize("answer", [index, write, whole, call, Indexed, Ellipsed, lambda p: p[...], {"a": ..., "b": 1}, [...]])
def test_a_blank_inside_an_answer_is_an_answer(answer):
    assert TWO.judge(answer).state == "wrong"


def test_a_check_that_fails_says_so_and_never_raises():
    verdict = Exercise("x", "y", (), raises).judge(1)
    assert verdict.state == "wrong" and "KeyError: 'weight'" in verdict.message


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no words")


class Touchy:
    def __getattr__(self, name):
        raise RuntimeError("do not touch")


def thrower(error):
    def fault(answer):
        raise error

    return fault


@pytest.mark.parametrize(
    "error, words",
    [
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (Unprintable(), "Unprintable: its words cannot be printed"),
        (ValueError(), "tried: ValueError"),
        (BaseException("odd"), "BaseException: odd"),
        (ValueError("first\nsecond"), "ValueError: first"),
    ],
)
def test_whatever_an_answer_raises_is_a_wrong_answer_with_words(error, words):
    verdict = Exercise("x", "y", (), thrower(error)).judge(1)
    assert verdict.state == "wrong" and verdict.message.endswith(words)


def test_an_answer_that_cannot_be_looked_at_is_wrong():
    verdict = TWO.judge(Touchy())
    assert verdict.state == "wrong" and "do not touch" in verdict.message


def test_a_keyboard_interrupt_is_left_alone():
    with pytest.raises(KeyboardInterrupt):
        Exercise("x", "y", (), thrower(KeyboardInterrupt())).judge(1)


def test_no_such_choice():
    with pytest.raises(ValueError, match="Got choice 2; wanted 0 to 1"):
        ASK.judge(2)


def test_hints_unfold_one_by_one():
    view = TWO.check(3)
    _, button, hints = view.children
    assert button.description == "Hint 1 of 2" and hints.value == ""
    button.click()
    assert hints.value.count("<li>") == 1 and button.description == "Hint 2 of 2"
    button.click()
    assert hints.value.count("<li>") == 2 and button.disabled
    assert len(TWO.check(2).children) == 1


def test_a_click_is_answered():
    view = ASK.ask()
    _, two, eleven, reply = view.children
    eleven.click()
    assert "Not yet" in reply.value and "joins strings" in reply.value
    two.click()
    assert "Right" in reply.value


def test_the_still_shows_question_and_choices_but_no_answer():
    bundle = ASK.ask()._repr_mimebundle_()
    assert "1 + 1?" in bundle["text/plain"] and "11" in bundle["text/plain"]
    for mime in ("text/plain", "image/svg+xml"):
        assert "Yes." not in bundle[mime] and "joins" not in bundle[mime] and "Right" not in bundle[mime]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_markup_in_an_answer_is_shown_as_text():
    view = Exercise("x", "y", (), lambda x: f"{x} is odd").check("<script>")
    assert "&lt;script&gt;" in view.children[0].value and "<script>" not in view.children[0].value


def test_an_answer_that_no_page_can_hold_is_shown_escaped():
    view = Exercise("x", "y", (), lambda x: f"{x} is odd").check("\ud800\0")
    assert "\\ud800\\x00 is odd" in view.children[0].value
    view.children[0].value.encode()
    assert "\\ud800\\x00 is odd" in view.still.alt
