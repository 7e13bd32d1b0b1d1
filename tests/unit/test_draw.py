"""Every picture is well-formed SVG with a title and words, whatever it is drawn from."""

import math
import re
import xml.etree.ElementTree as xml

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_describe import BAD, ODD, STRANGE
from torch import nn

from helpers import draw, lesson, scenes
from helpers.compare import compare
from helpers.draw import svg
from helpers.draw.labels import shorten
from helpers.scenes import motion, stations
from helpers.scenes.models import attached
from helpers.scenes.motion import Column, Term
from helpers.scenes.stations import Station

SPACE = "{http://www.w3.org/2000/svg}"


def contrast(one, other):
    """The contrast of two colours, as WCAG 2.2 defines it."""
    low, high = sorted((svg.luminance(one), svg.luminance(other)))
    return (high + 0.05) / (low + 0.05)


def read(picture):
    """The picture's SVG as a tree, after the checks that hold for all of them."""
    root = xml.fromstring(picture.svg)
    assert root.get("role") == "img"
    title, desc = root.find(f"{SPACE}title").text, root.find(f"{SPACE}desc").text
    assert title and desc and picture.alt.startswith(title) and desc in picture.alt
    width, height = map(float, (root.get("width"), root.get("height")))
    for node in root.iter(f"{SPACE}text"):
        assert node.text is not None
        if node.get("x"):
            assert 0 <= float(node.get("x")) <= width, f"{node.text!r} starts outside the card"
    assert "nan" not in picture.svg.replace("NaN", "").lower().split("<desc>")[0]
    assert 0 < width < 2500 and 0 < height < 6000
    return root


def words(picture):
    return [node.text for node in read(picture).iter(f"{SPACE}text")]


@pytest.mark.parametrize("name", ODD)
def test_any_tensor_is_drawn(name):
    read(draw.state_dict({"module.weight": ODD[name]}))


@pytest.mark.parametrize("name", STRANGE)
def test_strange_tensors_are_drawn_with_their_reason(name):
    make, *_, reason, _ = STRANGE[name]
    assert any(reason in word for word in words(draw.state_dict({"module.weight": make()})))


def test_all_odd_tensors_in_one_state_dict():
    picture = draw.state_dict({name.replace(" ", "_"): value for name, value in ODD.items()})
    assert any("more keys" in word for word in words(picture))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_never_a_broken_picture(name):
    value, kind, parts = BAD[name]
    with pytest.raises(kind) as caught:
        draw.state_dict(value)
    assert all(part in str(caught.value) for part in parts)


def test_the_running_model():
    model = lesson.build_model()
    seen = words(draw.state_dict(model.state_dict(), model))
    assert [word for word in seen if word.endswith(("weight", "bias"))] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert "nothing to remember" in seen and "ReLU()" in seen and "Linear(2, 2)" in seen
    assert seen[0] == "4 keys, 9 numbers, 36 B"


def test_frames_tell_the_kinds_apart():
    model = nn.BatchNorm1d(2)
    picture = draw.state_dict(model.state_dict(), model)
    assert 'stroke-dasharray="7 4"' in picture.svg
    assert {"parameter", "buffer"} <= set(words(picture))


def test_keys_that_would_break_markup():
    keys = ['a<b>&"quotes"\'', "x" * 200, "dots..twice", "", "ключ", "\n"]
    picture = draw.state_dict({key: torch.ones(1) for key in keys})
    assert 'a<b>&"quotes"\'' in words(picture)
    assert max(len(word) for word in words(picture)) < 120


UNPRINTABLE = ["a\0b", "a\x1b[31m", "a\ud800", "a\uffff", "a\x0b"]


@pytest.mark.parametrize("key", UNPRINTABLE)
def test_text_that_xml_cannot_hold_is_shown_escaped(key):
    shown = key.encode("unicode_escape").decode().replace("\\x0b", "\\x0b")
    state = {f"{key}.weight": torch.ones(1)}
    pictures = [
        draw.state_dict(state),
        draw.key_diff(key, compare(state, {}, values=False)),
        draw.table(key, [key], [(key, ("yes", key))]),
        draw.bars(key, [(key, [("parameter", 4)])]),
        draw.curves(key, {key: [1.0, 2.0]}, across=key, up=key, alt=key),
    ]
    for picture in pictures:
        assert any(shown in word for word in words(picture)), picture.alt
        assert shown in picture.alt
        picture.svg.encode()
        picture._repr_mimebundle_()["text/html"].encode()


@given(st.text(max_size=80))
def test_any_text_at_all_is_drawn(text):
    read(draw.table(text + "x", [text], [(text, text)], alt=text + "x"))


DEEP = "base_model.model.encoder.layer.{}.attention.self.query.lora_{}.default.weight"


def test_keys_are_shortened_where_they_agree_and_never_where_they_differ():
    one, other = shorten([DEEP.format(0, "A"), DEEP.format(0, "B")], 30).values()
    assert (one, other) == ("….self.….lora_A.default.weight".replace("self.…", "query"), "….query.lora_B.default.weight")
    many = shorten([DEEP.format(k, x) for k in (0, 1) for x in "AB"], 30)
    assert len(set(many.values())) == 4
    assert all(len(label) <= 30 and f".{key.split('.')[4]}." in label for key, label in many.items())
    assert shorten(["short", "x" * 99], 30) == {"short": "short", "x" * 99: "x" * 14 + "…" + "x" * 15}
    long = [letter.join(["x" * 100] * 2) for letter in "ab"]
    assert [label[:2] for label in shorten(long, 30).values()] == ["…a", "…b"]


@given(st.lists(st.text("ab.\0", min_size=20, max_size=90), unique=True, max_size=12))
def test_no_two_keys_get_one_label(keys):
    assert len(set(shorten(keys, 12).values())) == len(keys)


def test_the_two_sides_of_an_adapter_stay_apart_in_every_picture():
    state = {DEEP.format(0, x): torch.ones(1) for x in "AB"}
    for picture in (draw.state_dict(state), draw.key_diff("Diff", compare(state, {}, values=False))):
        assert {"….query.lora_A.default.weight", "….query.lora_B.default.weight"} <= set(words(picture))
    owners = {f"base.model.lora_{x}.default.weight": torch.ones(1) for x in "AB"}
    seen = words(draw.state_dict(owners))
    assert {"….lora_A.…", "….lora_B.…"} <= set(seen)


def test_ten_thousand_entries_stay_small():
    state = {f"layer.{k}.weight": torch.empty(10, 10, device="meta") for k in range(10_000)}
    picture = draw.state_dict(state)
    assert "… 9,976 more keys" in words(picture) and len(picture.svg) < 400_000
    assert words(picture)[0] == "10,000 keys, 1,000,000 numbers, 4 MB"


def test_an_empty_state_dict():
    assert words(draw.state_dict({}))[0] == "0 keys, 0 numbers, 0 B"
    read(draw.state_dict(nn.ReLU().state_dict(), nn.ReLU()))


def test_extra_state_is_drawn_in_words():
    assert "a dict, not a tensor" in words(draw.state_dict({"layer._extra_state": {}}))


def test_a_slice_of_a_state_dict_with_its_whole_model():
    model = lesson.build_model()
    assert "2.bias" in words(draw.state_dict({"2.bias": model[2].bias}, model))


@pytest.mark.parametrize("value", [x / 20 for x in range(-20, 21)])
def test_figures_are_readable_on_every_shade(value):
    fill = svg.shade(value)
    assert contrast(svg.ink_on(fill), fill) >= 4.5


@pytest.mark.parametrize(
    "color",
    [
        svg.INK,
        svg.SOFT,
        *(color for _, color in svg.SIGNS.values()),
        *(str(f["stroke"]) for k, f in svg.FRAMES.items() if k != "value"),
    ],
)
def test_words_and_signs_are_readable_on_the_card(color):
    assert contrast(color, svg.CARD) >= 4.5


def test_the_scale_is_diverging_and_ordered():
    levels = [svg.luminance(svg.shade(x / 10)) for x in range(11)]
    assert levels == sorted(levels, reverse=True)
    assert svg.shade(5) == svg.shade(1) and svg.shade(-5) == svg.shade(-1) and svg.shade(0) == "#fafaf8"


def test_columns_draw_ties_gaps_and_losses():
    one = [torch.ones(2, 2), torch.ones(1)]
    picture = motion.columns(
        "Two",
        ["a", "b"],
        [Column("x", "parameter", one), Column("y", "gradient", [None, one[1]])],
        alt="Words.",
        scale=1,
        joined=(0, 1),
        losses=[1.0, 0.5, math.nan],
        notes=["n", "m"],
        foot=["f", ""],
    )
    assert "loss 0.500" in words(picture)
    assert picture.svg.count('stroke-width="3"') == 2


def test_flow_hides_and_strikes():
    picture = motion.flow(
        "Flow",
        [Term("a", torch.ones(2), struck=(1,)), Term("b", torch.ones(1), operator="+", hidden=True)],
        alt="Words.",
        scale=1,
        lines=["1 + 1 = 2"],
    )
    assert words(picture).count("∅") == 1 and words(picture).count("+1.00") == 2


def test_stations_draw_only_what_is_reached():
    stops = [Station("a", "n", torch.ones(2)), Station("b", disk=True), Station("c", reached=False)]
    seen = words(stations.stations("Way", stops, [("call", "holds"), ("later", "")], alt="Words.", hops=1))
    assert "call" in seen and "holds" in seen and "later" not in seen and seen.count("+1.00") == 2


def test_stations_come_back_in_the_row_below():
    stops, arrows = [Station(name) for name in "abcd"], [("out", ""), ("down", ""), ("back", "")]
    svg = stations.stations("Way", stops, arrows, alt="Words.", columns=2).svg
    places = {
        word: (float(x), float(y)) for x, y, word in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>(\w+)</text>', svg)
    }
    assert places["a"][0] == places["d"][0] < places["b"][0] == places["c"][0]
    assert places["a"][1] == places["b"][1] < places["down"][1] < places["c"][1] == places["d"][1]
    assert places["a"][0] < places["out"][0] < places["b"][0] and places["d"][0] < places["back"][0] < places["c"][0]


def test_table_marks_have_signs():
    seen = words(draw.table("T", ["a", "b"], [("x", ("yes", "in")), ("y", ("no", "out")), ("z", ("wrong", "other"))]))
    assert {"✓", "✗", "!"} <= set(seen)


def test_tree_shows_every_key_and_buffer():
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "head": nn.Linear(3, 1)})
    assert set(model.state_dict()) <= set(words(scenes.tree("Tree", model)))


def test_bars_leave_out_what_is_empty():
    seen = words(draw.bars("B", [("model", [("parameter", 40), ("optimizer state", 0)]), ("Adam", [("parameter", 80)])]))
    assert seen.count("40 B") == 2 and "0 B" not in seen


def test_bars_of_nothing():
    assert "0 B" in words(draw.bars("B", [("empty", [("parameter", 0)])]))
    read(draw.bars("B", []))


def test_a_tree_shows_a_module_under_both_its_names():
    shared = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    picture = scenes.tree("Tree", nn.ModuleDict({"first": shared, "second": shared}))
    assert {"first.1.running_mean", "second.1.running_mean", "second.0.weight"} <= set(words(picture))
    assert picture.svg.count('stroke-dasharray="7 4"') == 6 + 1


def test_without_a_model_the_kind_is_not_known():
    state = lesson.build_model().state_dict()
    picture = draw.state_dict(state)
    assert "tensor" in words(picture) and "parameter" not in words(picture)
    assert "0.weight (2×2 tensor)" in picture.alt
    assert picture.svg.count(f'stroke-dasharray="{svg.FRAMES["tensor"]["stroke_dasharray"]}"') == len(state) + 1


def test_every_frame_is_told_by_more_than_its_colour():
    shapes = [(str(look.get("rx")), look.get("stroke_dasharray")) for kind, look in svg.FRAMES.items() if kind != "value"]
    assert len(set(shapes)) == len(shapes)


def test_key_diff_has_a_sign_for_each_relation():
    one, other = (
        {"a": torch.ones(1), "b": torch.ones(2), "d": torch.ones(1)},
        {"a": torch.ones(1), "b": torch.ones(3), "c": torch.ones(1)},
    )
    seen = words(draw.key_diff("Diff", compare(one, other, values=False)))
    assert {"=", "≠", "?", "∅", "fits", "shape", "missing", "unexpected"} <= set(seen)


def test_what_is_ambiguous_is_drawn_with_its_candidates():
    one, other = (dict.fromkeys(keys, torch.ones(1)) for keys in (["k.w", "v.w", "q.w", "u.w"], ["a.w", "b.w", "c.w"]))
    picture = draw.key_diff("Diff", compare(one, other, values=False, explain=True))
    seen = words(picture)
    assert seen.count("⁇") == seen.count("ambiguous") == seen.count("k.w or v.w or q.w or 1 more") == 3
    assert "a.w: ambiguous from k.w or v.w or q.w or 1 more" in picture.alt


def test_ten_thousand_pairs_show_first_what_does_not_match():
    one = {f"layer.{k}.weight": torch.empty(1, device="meta") for k in range(10_000)}
    other = {**one, "layer.9000.weight": torch.empty(2, device="meta"), "new": torch.empty(1, device="meta")}
    picture = draw.key_diff("Diff", compare(one, other, values=False))
    seen = words(picture)
    assert {"layer.9000.weight", "new", "layer.0.weight"} <= set(seen)
    assert "… 9,961 more: 9,999 same, 1 differs, 1 missing in all" in seen
    assert len(picture.svg) < 100_000 and len(picture.alt) < 3_000


SERIES = {
    "inf": [1.0, math.inf, 2.0, -math.inf],
    "NaN": [1.0, math.nan, 2.0],
    "all zero": [0.0, 0.0],
    "all NaN": [math.nan] * 3,
    "all inf": [math.inf] * 3,
    "huge": [1e308, -1e308],
    "one value": [1.0],
    "none": [],
}


@pytest.mark.parametrize("name", SERIES)
def test_losses_of_any_kind_are_drawn_or_said(name):
    values = SERIES[name]
    seen = words(draw.curves("C", {"one": values, "two": [1.0, 2.0]}, across="x", up="y", alt="Words."))
    large = sum(abs(value) >= 1e100 for value in values)
    expected = "one (no numbers)" if all(map(math.isnan, values)) else f"one ({large} too large)" if large else "one"
    assert expected in seen
    column = Column("x", "parameter", [torch.ones(1)])
    known = [value for value in values if math.isfinite(value)]
    seen = words(motion.columns("Two", ["a"], [column], alt="Words.", scale=1, losses=values))
    assert any(word.startswith("loss ") for word in seen) == bool(known)
    assert ("no loss that is a number" in seen) == (bool(values) and not known)


@pytest.mark.parametrize("count", [0, 1, 5, 16, 20])
def test_every_curve_has_a_stroke_of_its_own_or_is_counted(count):
    picture = draw.curves("C", {f"run {k}": [k, k + 1] for k in range(count)}, across="x", up="y", alt="Words.")
    seen = words(picture)
    assert [word for word in seen if word.startswith("run")] == [f"run {k}" for k in range(min(count, 16))]
    assert ("… 4 more curves" in seen) == (count == 20)
    strokes = re.findall(
        r'<path d="M520 \d+h44"( stroke="#\w+" stroke-width="[\d.]+"(?: stroke-dasharray="[\d. ]+")?)', picture.svg
    )
    assert len(set(strokes)) == len(strokes) == min(count, 16)


def test_curves_are_the_same_text_each_time():
    def picture():
        return draw.curves("C", {"one": [3, 2, 1], "two": [1, 2, 3]}, across="x", up="y", alt="Words.").svg

    assert picture() == picture()
    xml.fromstring(picture())


@pytest.mark.parametrize("lr, momentum", [(0.1, 0.9), (0.5, 0.98), (0.01, 0.0)])
def test_a_path_that_flies_out_stays_on_the_card(lr, momentum):
    read(scenes.roll(lr, momentum))


@pytest.mark.parametrize("how", scenes.ATTACH)
def test_what_attaching_adds_is_what_torch_says(how):
    model, _ = attached(how)
    assert set(model.state_dict()) <= set(words(scenes.attach(how)))
    adds = set(model.state_dict()) - {"layer.weight", "layer.bias"}
    assert ("no key" in read(scenes.attach(how)).find(f"{SPACE}title").text) == (not adds)


def test_attach_in_no_known_way():
    with pytest.raises(ValueError, match="Got 'magic'; wanted one of nn.Parameter"):
        scenes.attach("magic")


def test_every_frame_of_every_flipbook(tmp_path):
    model = lesson.build_model()
    torch.save(model.state_dict(), tmp_path / "s.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    torch.save({"model_state": model.state_dict()}, tmp_path / "c.pth")
    frames = [
        *scenes.forward_frames(model, 1, -1),
        *scenes.photograph_frames(3),
        *scenes.momentum_frames(30),
        *scenes.round_trip_frames(),
        *scenes.import_frames(tmp_path / "s.pth", tmp_path / "w.pth"),
        scenes.inside(tmp_path / "c.pth"),
        scenes.journey(),
        scenes.in_and_out(),
    ]
    for frame in frames:
        read(frame)


def test_one_scale_for_a_whole_flipbook():
    bars = {svg_text for frame in scenes.momentum_frames(5) for svg_text in words(frame) if svg_text.startswith("≤")}
    assert bars == {"≤ −2"}
