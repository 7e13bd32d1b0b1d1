"""Every picture is well-formed SVG with a title and words, whatever it is drawn from."""

import math
import re
import xml.etree.ElementTree as xml

import pytest
import torch
from test_describe import BAD, ODD
from torch import nn

from helpers import draw, lesson, scenes
from helpers.compare import compare
from helpers.draw import svg
from helpers.scenes import motion, stations
from helpers.scenes.models import attached
from helpers.scenes.motion import Column, Term
from helpers.scenes.stations import Station

SPACE = "{http://www.w3.org/2000/svg}"


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
    assert svg._contrast(svg.ink_on(fill), fill) >= 4.5


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
    assert svg._contrast(color, svg.CARD) >= 4.5


def test_the_scale_is_diverging_and_ordered():
    levels = [svg._luminance(svg.shade(x / 10)) for x in range(11)]
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
    assert set(model.state_dict()) <= set(words(draw.tree("Tree", model)))


def test_bars_leave_out_what_is_empty():
    seen = words(draw.bars("B", [("model", [("parameter", 40), ("optimizer state", 0)]), ("Adam", [("parameter", 80)])]))
    assert seen.count("40 B") == 2 and "0 B" not in seen


def test_key_diff_has_a_sign_for_each_relation():
    one, other = (
        {"a": torch.ones(1), "b": torch.ones(2), "d": torch.ones(1)},
        {"a": torch.ones(1), "b": torch.ones(3), "c": torch.ones(1)},
    )
    seen = words(draw.key_diff("Diff", compare(one, other, values=False)))
    assert {"=", "≠", "?", "∅", "fits", "shape", "missing", "unexpected"} <= set(seen)


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
