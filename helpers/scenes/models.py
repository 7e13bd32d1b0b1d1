"""Scenes of lessons 01 and 02: a forward pass, an architecture, and what gets into a state dict."""

from __future__ import annotations

import textwrap

import torch
from torch import Tensor, nn

from helpers import describe, draw, lesson
from helpers.draw import Picture, svg
from helpers.draw.corner import figure
from helpers.scenes.motion import Term, flow

STEP = 44
ATTACH = [
    "nn.Parameter",
    "register_buffer",
    "persistent=False",
    "plain tensor",
    "list of modules",
    "nn.ModuleList",
    "tied weight",
]
_REASONS = {
    "nn.Parameter": "a parameter registers itself",
    "register_buffer": "a buffer, remembered but not trained",
    "persistent=False": "a buffer that asks to be left out",
    "plain tensor": "nothing registers it",
    "list of modules": "a Python list is no module",
    "nn.ModuleList": "a registered list",
    "tied weight": "a second name of one tensor",
}


def signed(value: float | Tensor) -> str:
    """A number of the lesson with its sign and two decimals, with a real minus."""
    return figure(value.item() if isinstance(value, Tensor) else float(value))


def forward(model: nn.Sequential, x1: float, x2: float, *, reached: int = 7) -> Picture:
    """The running model at work on one input; `reached` terms of the eight are shown, counted after the first."""
    with torch.no_grad():
        x = torch.tensor([float(x1), float(x2)])
        before = model[0](x)
        after = model[1](before)
        output = model[2](after)
    silent = [k for k in range(2) if before[k] <= 0]
    terms = [
        Term("0.weight", model.get_parameter("0.weight"), "parameter"),
        Term("input", x, operator="·"),
        Term("0.bias", model.get_parameter("0.bias"), "parameter", "+"),
        Term("before ReLU", before, operator="="),
        Term("after ReLU", after, operator="→", struck=silent),
        Term("2.weight", model.get_parameter("2.weight"), "parameter", "→"),
        Term("2.bias", model.get_parameter("2.bias"), "parameter", "+"),
        Term("output", output, operator="="),
    ]
    hidden = {"after ReLU": reached < 4, "before ReLU": reached < 3, "output": reached < 7}
    terms = [
        Term(t.heading, t.tensor, t.kind, t.operator, () if hidden.get(t.heading) else t.struck, hidden.get(t.heading, False))
        for t in terms
    ]
    lines = _arithmetic(model, x, before, after, output)[: {0: 0, 3: 2, 4: 3, 7: 4}[reached]]
    named = {0: "Neither unit is", 1: f"Unit {silent[0] if silent else 0} is", 2: "Both units are"}[len(silent)]
    title = {
        0: "The input meets the first tensor",
        3: "Two sums, one for each row of 0.weight",
        4: "ReLU has no tensor: it only cuts below zero",
    }.get(reached, f"{named} silent; the output is {signed(output.item())}")
    alt = f"Input {signed(x1)}, {signed(x2)}. " + " ".join(lines)
    return flow(title, terms, alt=alt, scale=2, lines=lines)


def _arithmetic(model: nn.Sequential, x: Tensor, before: Tensor, after: Tensor, output: Tensor) -> list[str]:
    first, bias, second, last = model.parameters()
    lines = [
        f"unit {k}:  ({signed(first[k, 0])} · {signed(x[0])}) + ({signed(first[k, 1])} · {signed(x[1])})"
        f" + ({signed(bias[k])}) = {signed(before[k])}"
        for k in range(2)
    ]
    lines.append(f"ReLU:    {signed(before[0])} → {signed(after[0])}   {signed(before[1])} → {signed(after[1])}")
    lines.append(
        f"output:  ({signed(second[0, 0])} · {signed(after[0])}) + ({signed(second[0, 1])} · "
        f"{signed(after[1])}) + ({signed(last[0])}) = {signed(output[0])}"
    )
    return lines


def forward_frames(model: nn.Sequential, x1: float, x2: float) -> list[Picture]:
    """The forward pass in four stations: input, sums, ReLU, output."""
    return [forward(model, x1, x2, reached=k) for k in (0, 3, 4, 7)]


def _two_layers(inputs: int, hidden: int, outputs: int, bias: bool) -> nn.Sequential:
    """A `Sequential` of Linear, ReLU and Linear, the same for the same sizes."""
    torch.manual_seed(lesson.SEED)
    return nn.Sequential(nn.Linear(inputs, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, outputs, bias=bias))


def architecture(inputs: int, hidden: int, outputs: int, bias: bool) -> Picture:
    """The state dict of a two-layer network of the given sizes."""
    model = _two_layers(inputs, hidden, outputs, bias)
    count = sum(p.numel() for p in model.parameters())
    return draw.state_dict(model.state_dict(), model, title=f"{count} numbers to remember", scale=1)


def attached(how: str) -> tuple[nn.Module, str]:
    """A module with one more thing attached in the way named `how`, and the line of code that did it."""
    torch.manual_seed(lesson.SEED)
    model = nn.Module()
    model.layer = nn.Linear(2, 2)
    code = {
        "nn.Parameter": "model.extra = nn.Parameter(torch.ones(2))",
        "register_buffer": "model.register_buffer('extra', torch.ones(2))",
        "persistent=False": "model.register_buffer('extra', torch.ones(2), persistent=False)",
        "plain tensor": "model.extra = torch.ones(2)",
        "list of modules": "model.extra = [nn.Linear(2, 1)]",
        "nn.ModuleList": "model.extra = nn.ModuleList([nn.Linear(2, 1)])",
        "tied weight": "model.extra = model.layer.weight",
    }[how]
    exec(code, {"torch": torch, "nn": nn, "model": model})
    return model, code


def attach(how: str) -> Picture:
    """The state dict of a small module after a tensor was attached to it in one of the ways of `ATTACH`."""
    if how not in ATTACH:
        raise ValueError(f"Got {how!r}; wanted one of {', '.join(ATTACH)}.")
    model, code = attached(how)
    fresh = [key for key in model.state_dict() if key not in ("layer.weight", "layer.bias")]
    title = f"{code} adds {'no key' if not fresh else ' and '.join(fresh)}"
    return draw.state_dict(model.state_dict(), model, title=title, scale=1)


def in_and_out() -> Picture:
    """Each way of `ATTACH`, the keys that it really adds, and why."""
    rows = []
    for how in ATTACH:
        model, code = attached(how)
        fresh = [key for key in model.state_dict() if key not in ("layer.weight", "layer.bias")]
        keys = ("yes", "\n".join(fresh)) if fresh else ("no", "no key")
        rows.append((textwrap.fill(code.removeprefix("model."), 42), keys, textwrap.fill(_REASONS[how], 28)))
    return draw.table("In: what is registered. Out: everything else", ["attached to the model", "keys", "why"], rows)


def tree(title: str, model: nn.Module) -> Picture:
    """The modules of a model as a tree, each key at the end of its path, a module with two names at both."""
    rows = describe.describe(model.state_dict(), model)
    modules = {name: type(module).__name__ for name, module in model.named_modules(remove_duplicate=False)}
    ends = [STEP * row.key.count(".") + svg.width_of(row.key.rpartition(".")[2], 16, mono=True) for row in rows]
    key_x = 140 + max([160, *ends])
    shape_x = key_x + max([160, *(svg.width_of(row.key, 16, mono=True) for row in rows)]) + 30
    body, y = [], 100.0
    for name in [*modules, *dict.fromkeys(row.owner for row in rows if row.owner not in modules)]:
        x, label = 36 + STEP * (name.count(".") + bool(name)), name.rpartition(".")[2]
        after = svg.width_of(label, 17, mono=True) + 12 if label else 0
        body += [_elbow(x - 30, y - 24)] * bool(name)
        body += [svg.text(x, y, label, 17, mono=True, bold=True), svg.text(x + after, y, modules.get(name, ""), 15, svg.SOFT)]
        for row in (row for row in rows if row.owner == name):
            y += 34
            body += [
                _elbow(x + 14, y - 24) + svg.frame(row.kind, x + 42, y - 16, 24, 20),
                svg.text(x + 76, y, row.key.rpartition(".")[2], 16, mono=True),
                svg.text(key_x, y, row.key, 16, mono=True, bold=True),
                svg.text(shape_x, y, describe.shape_name(row.shape), 15, svg.SOFT),
            ]
        y += 38
    kinds = [kind for kind in svg.FRAMES if any(row.kind == kind for row in rows)]
    heads = [(36, "module"), (key_x, "key in state_dict()"), (shape_x, "shape")]
    body += [svg.text(x, 70, words, 13, svg.SOFT) for x, words in heads] + [svg.legend(shape_x + 90, 92, kinds)]
    alt = f"Each key is the path to its tensor: {', '.join(row.key for row in rows)}."
    return svg.card(shape_x + 270, y - 8, title, alt, "".join(body))


def _elbow(x: float, y: float) -> str:
    return svg.el("path", d=f"M{x} {y}v18h22", stroke=svg.LINE, stroke_width=1.6, fill="none")
