"""The lessons' moving pictures, frame by frame: what happened (`lesson`) drawn in the common grammar (`draw`)."""
from __future__ import annotations

import copy
import math
import pickletools
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from helpers import describe, draw, lesson
from helpers.compare import same_storage
from helpers.draw import Column, Picture, Station, Term

KEYS = ["0.weight", "0.bias", "2.weight", "2.bias"]
ATTACH = ["nn.Parameter", "register_buffer", "persistent=False", "plain tensor", "list of modules", "nn.ModuleList",
          "tied weight"]


def signed(value: float | Tensor) -> str:
    """A number of the lesson with its sign and two decimals, with a real minus."""
    return describe.figure(value.item() if isinstance(value, Tensor) else float(value))


def forward(model: nn.Sequential, x1: float, x2: float, *, reached: int = 7) -> Picture:
    """The running model at work on one input; `reached` terms of the eight are shown, counted after the first."""
    with torch.no_grad():
        x = torch.tensor([x1, x2])
        before = model[0](x)
        after = model[1](before)
        output = model[2](after)
    silent = [k for k in range(2) if before[k] <= 0]
    terms = [Term("0.weight", model[0].weight, "parameter"), Term("input", x, operator="·"),
             Term("0.bias", model[0].bias, "parameter", "+"), Term("before ReLU", before, operator="="),
             Term("after ReLU", after, operator="→", struck=silent), Term("2.weight", model[2].weight, "parameter", "→"),
             Term("2.bias", model[2].bias, "parameter", "+"), Term("output", output, operator="=")]
    hidden = {"after ReLU": reached < 4, "before ReLU": reached < 3, "output": reached < 7}
    terms = [Term(t.heading, t.tensor, t.kind, t.operator, () if hidden.get(t.heading) else t.struck,
                  hidden.get(t.heading, False)) for t in terms]
    lines = _arithmetic(model, x, before, after, output)[:{0: 0, 3: 2, 4: 3, 7: 4}[reached]]
    named = {0: "Neither unit is", 1: f"Unit {silent[0] if silent else 0} is", 2: "Both units are"}[len(silent)]
    title = {0: "The input meets the first tensor", 3: "Two sums, one for each row of 0.weight",
             4: "ReLU has no tensor: it only cuts below zero"}.get(reached, f"{named} silent; the output is "
                                                                         f"{signed(output.item())}")
    alt = f"Input {signed(x1)}, {signed(x2)}. " + " ".join(lines)
    return draw.flow(title, terms, alt=alt, scale=2, lines=lines)


def _arithmetic(model: nn.Sequential, x: Tensor, before: Tensor, after: Tensor, output: Tensor) -> list[str]:
    first, bias, second, last = model[0].weight, model[0].bias, model[2].weight, model[2].bias
    lines = [f"unit {k}:  ({signed(first[k, 0])} · {signed(x[0])}) + ({signed(first[k, 1])} · {signed(x[1])})"
             f" + ({signed(bias[k])}) = {signed(before[k])}" for k in range(2)]
    lines.append(f"ReLU:    {signed(before[0])} → {signed(after[0])}   {signed(before[1])} → {signed(after[1])}")
    lines.append(f"output:  ({signed(second[0, 0])} · {signed(after[0])}) + ({signed(second[0, 1])} · "
                 f"{signed(after[1])}) + ({signed(last[0])}) = {signed(output[0])}")
    return lines


def forward_frames(model: nn.Sequential, x1: float, x2: float) -> list[Picture]:
    """The forward pass in four stations: input, sums, ReLU, output."""
    return [forward(model, x1, x2, reached=k) for k in (0, 3, 4, 7)]


def architecture(inputs: int, hidden: int, outputs: int, bias: bool) -> Picture:
    """The state dict of a two-layer network of the given sizes."""
    model = lesson.two_layers(inputs, hidden, outputs, bias)
    count = sum(p.numel() for p in model.parameters())
    return draw.state_dict(model.state_dict(), model, title=f"{count} numbers to remember", scale=1)


def photograph_frames(steps: int = 20) -> list[Picture]:
    """The window and the photograph over training: the first moves with the model, the second stands still."""
    frames = []
    moments = lesson.window_and_photograph(steps)
    for step, (window, photograph) in enumerate(moments):
        equal = all(torch.equal(a, b) for a, b in zip(window, photograph))
        title = ("Before training: one look, three equal columns" if equal
                 else f"Step {step}: best moved with the model, the deep copy did not")
        parts = [Column("model", "parameter", window), Column("best (window)", "parameter", window),
                 Column("deep copy", "parameter", photograph)]
        alt = f"2.bias is {signed(window[3])} in the model and in best, {signed(photograph[3])} in the deep copy."
        frames.append(draw.columns(title, KEYS, parts, alt=alt, scale=1, joined=(0, 1),
                                   foot=["", "same storage", "own storage"]))
    return frames


def attach(how: str) -> Picture:
    """The state dict of a small module after a tensor was attached to it in one of the ways of `ATTACH`."""
    if how not in ATTACH:
        raise ValueError(f"Got {how!r}; wanted one of {', '.join(ATTACH)}.")
    model, code = lesson.attached(how)
    fresh = [key for key in model.state_dict() if key not in ("layer.weight", "layer.bias")]
    title = f"{code} adds {'no key' if not fresh else ' and '.join(fresh)}"
    return draw.state_dict(model.state_dict(), model, title=title, scale=1)


_REASONS = {"nn.Parameter": "a parameter registers itself", "register_buffer": "a buffer, remembered but not trained",
            "persistent=False": "a buffer that asks to be left out", "plain tensor": "nothing registers it",
            "list of modules": "a Python list is no module", "nn.ModuleList": "a registered list",
            "tied weight": "a second name of one tensor"}


def in_and_out() -> Picture:
    """Each way of `ATTACH`, the keys that it really adds, and why."""
    rows = []
    for how in ATTACH:
        model, code = lesson.attached(how)
        fresh = [key for key in model.state_dict() if key not in ("layer.weight", "layer.bias")]
        rows.append((code.removeprefix("model."), ("yes", ", ".join(fresh)) if fresh else ("no", "no key"), _REASONS[how]))
    return draw.table("In: what is registered. Out: everything else", ["attached to the model", "keys", "why"], rows)


def momentum_frames(steps: int = 60) -> list[Picture]:
    """Sixty steps of SGD with momentum: value, gradient and buffer of each parameter, with the loss so far."""
    model = lesson.build_model()
    moments = lesson.train(model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9), steps)
    return [_momentum(step, moments) for step in range(steps + 1)]


def _momentum(step: int, moments: Sequence[lesson.Step]) -> Picture:
    now, blank = moments[step], [math.nan] * (len(moments) - step - 1)
    parts = [Column("parameter", "parameter", now.parameters), Column("gradient", "gradient", now.gradients),
             Column("momentum_buffer", "optimizer state", now.buffers)]
    if step == 0:
        title, said = "Before the first step: no gradient, and no buffer", "The optimizer's state is empty."
    else:
        gradient, buffer = now.gradients[0][1, 0].item(), now.buffers[0][1, 0].item()
        title = "Step 1: the buffer is the gradient itself" if step == 1 else f"Step {step}: {_who_pushes(buffer, gradient)}"
        said = f"Lower left of 0.weight: gradient {signed(gradient)}, momentum buffer {signed(buffer)}."
    return draw.columns(title, KEYS, parts, alt=f"{said} Loss {now.loss:.3f}.", scale=2,
                        notes=[f"state[{k}]" for k in range(4)], foot=["w ← w − 0.01·v", "", "v ← 0.9·v + g"],
                        losses=[m.loss for m in moments[:step + 1]] + blank)


def _who_pushes(buffer: float, gradient: float) -> str:
    if buffer * gradient < 0:
        return "0.weight, lower left: the gradient has turned, the buffer has not"
    return "0.weight, lower left: the buffer outweighs the gradient"


def roll(lr: float, momentum: float) -> Picture:
    """Forty steps of SGD down a long valley, from the square towards the cross."""
    path = lesson.roll(lr, momentum)
    crossings = sum(a[1] * b[1] < 0 for a, b in zip(path, path[1:]))
    far = math.hypot(*path[-1])
    end = ("it flies out" if not far < 3 else "it arrives" if far < 0.1 else f"{far:.2f} still to go")
    title = f"lr {lr:.2f}, momentum {momentum:.2f}: {crossings} crossings of the floor, {end}"
    return draw.surface(title, lesson.bowl, path, alt=f"Forty steps from (−1.8, +1.1); the valley floor lies at y = 0.")


def round_trip_frames() -> list[Picture]:
    """Model to dict to file to dict to model, station by station, with the tie that holds at each."""
    one, other = lesson.build_model(), lesson.build_model(lesson.SEED + 1)
    live = one.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save(live, path)
        loaded = torch.load(path, weights_only=True)
    old = copy.deepcopy(other.state_dict())
    other.load_state_dict(loaded)
    key = "2.weight"
    chain = [one.state_dict()[key], live[key], loaded[key], loaded[key], other.state_dict()[key]]
    stops = [("model A", "parameters"), ("state dict", "a window"), ("file", "bytes on disk"),
             ("loaded dict", "new tensors"), ("model B", "its own tensors")]
    calls = ["state_dict()", "torch.save", "torch.load", "load_state_dict"]
    titles = ["Model A remembers four tensors; here is one of them", "state_dict() opens a window: same storage",
              "torch.save copies the bytes out", "torch.load makes new tensors", "load_state_dict copies into B's own"]
    frames = []
    for k, title in enumerate(titles):
        shown = [Station(name, note, tensor, disk=name == "file", reached=i <= k)
                 for i, ((name, note), tensor) in enumerate(zip(stops, chain))]
        if k < 4:
            shown[4] = Station("model B", "before loading", old[key])
        ties = [_tie(chain[i], chain[i + 1], i) for i in range(4)]
        frames.append(draw.stations(title, shown, _until(list(zip(calls, ties)), k), scale=1,
                                    alt=f"2.weight at {stops[k][0]}: {signed(chain[k][0, 0])}, {signed(chain[k][0, 1])}."))
    return frames


def _until(arrows: list[tuple[str, str]], reached: int) -> list[tuple[str, str]]:
    return [pair if i < reached else ("", "") for i, pair in enumerate(arrows)]


def _tie(one: Tensor, other: Tensor, hop: int) -> str:
    if hop in (1, 2):
        return "equal, copied" if torch.equal(one, other) else "different"
    return "same storage" if same_storage(one, other) else "equal, copied" if torch.equal(one, other) else "different"


def inside(path: str | Path) -> Picture:
    """The entries of a `.pth` file with their bytes, and the tensor that each data entry belongs to."""
    contents = describe.read_file(path)
    names = {}
    for part, values in contents.items():
        for key, tensor in (values.items() if "param_groups" not in values else _buffers(values)):
            names.setdefault(tensor.untyped_storage().data_ptr(), f"{part}: {key}")
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename.partition("/")[2], entry.file_size) for entry in archive.infolist()]
    order = iter(names.values())
    rows = [(name, describe.size_name(size), next(order, "") if name.startswith("data/") else _ROLE.get(name, ""))
            for name, size in sorted(entries, key=_entry_order)]
    numbers = sum(size for name, size in entries if name.startswith("data/"))
    return draw.table(f"{describe.size_name(numbers)} of numbers, a small pickle of names, and labels",
                      ["entry of the zip", "bytes", "what it holds"], rows)


_ROLE = {"data.pkl": "the names, shapes and dtypes, as a pickle", "byteorder": "little or big endian",
         "version": "of the format", ".format_version": "of the format", ".storage_alignment": "where storages start",
         ".data/serialization_id": "a fingerprint of this save"}


def _entry_order(entry: tuple[str, int]) -> tuple[bool, int, str]:
    name = entry[0].removeprefix("data/")
    return (not entry[0].startswith("data"), int(name) if name.isdigit() else -1, entry[0])


def _buffers(values: dict) -> list[tuple[str, Tensor]]:
    return [(f"state[{k}] {name}", value) for k, entry in values["state"].items()
            for name, value in entry.items() if isinstance(value, Tensor)]


def restored(model: bool, optimizer: bool) -> Picture:
    """Ten losses after a resume with only the ticked parts, against the run that never stopped."""
    whole, resumed = lesson.resume(model, optimizer)
    gap = max(abs(a - b) for a, b in zip(whole, resumed))
    parts = " and ".join(name for name, on in (("model", model), ("optimizer", optimizer)) if on) or "nothing"
    title = f"Restored {parts}: " + ("the same run, loss for loss" if gap == 0 else f"the curves part by {gap:.2f}")
    return draw.curves(title, {"never stopped": whole, "resumed": resumed}, across="step after the checkpoint",
                       up="loss", alt=f"Largest gap between the two curves: {gap:.2f}.")


def import_frames(state: str | Path, whole: str | Path) -> list[Picture]:
    """What each of two files asks to import, one name more on each frame."""
    names = [_imports(state), _imports(whole)]
    return [_import_frame(names, count) for count in range(1, max(map(len, names)) + 1)]


def _imports(path: str | Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        program = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    asked = [str(value) for opcode, value, _ in pickletools.genops(program) if opcode.name == "GLOBAL"]
    return [name.replace(" ", ".") for name in dict.fromkeys(asked)]


def _import_frame(names: list[list[str]], count: int) -> Picture:
    rows = []
    for k in range(max(map(len, names))):
        cells = [name[k] if k < min(count, len(name)) else "" for name in names]
        rows.append((str(k + 1), *(("wrong" if cell.startswith("__main__") else "yes", cell) if cell else "" for cell in cells)))
    mine = sum(name.startswith("__main__") for name in names[1][:count])
    title = ("The whole model asks for a class of yours" if mine else
             f"{count} of the names that each file asks for")
    return draw.table(title, ["", "state dict", "whole model"], rows)


def journey() -> Picture:
    """The map of the path: model, state dict, file, another model, with the lesson number on each arrow."""
    stops = [Station("model", "01: tensors in modules"), Station("state dict", "02: names and tensors"),
             Station("file", "04: bytes on disk", disk=True), Station("another model", "same answers")]
    arrows = [("state_dict()", "lesson 02"), ("torch.save", "lessons 04, 05"), ("load_state_dict", "lesson 04")]
    return draw.stations("What a model remembers, and where it goes", stops, arrows,
                         alt="Model, state_dict (lesson 02), state dict, torch.save (lessons 04 and 05), file, "
                             "load_state_dict (lesson 04), another model. The optimizer beside it is lesson 03.")
