"""Real errors, raised by the installed torch, find their lesson; and every section exists."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy
import pytest
import torch
from helpers.scenes.symptoms import SYMPTOMS, find
from safetensors.torch import save_file
from torch import nn, optim

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def missing():
    nn.Linear(2, 1).load_state_dict({})


def unexpected():
    nn.Linear(2, 1).load_state_dict({**nn.Linear(2, 1).state_dict(), "epoch": torch.ones(1)})


def mismatch():
    nn.Linear(2, 1).load_state_dict(nn.Linear(3, 1).state_dict())


def a_path():
    nn.Linear(2, 1).load_state_dict("model.pth")


def empty_list():
    optim.SGD(nn.ReLU().parameters(), lr=1)


def shapes():
    torch.ones(4, 3) @ torch.ones(5, 3)


def group_size():
    one, two = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optim.SGD([one, two], lr=1).load_state_dict(optim.SGD([one], lr=1).state_dict())


def groups():
    one, two = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optim.SGD([one, two], lr=1).load_state_dict(optim.SGD([{"params": [one]}, {"params": [two]}], lr=1).state_dict())


def momentum():
    weight = nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    adam = optim.Adam([weight])
    adam.step()
    sgd = optim.SGD([weight], lr=1, momentum=0.9)
    sgd.load_state_dict(adam.state_dict())
    sgd.step()


def weights_only(tmp):
    torch.save(nn.Linear(1, 1), tmp / "whole.pth")
    torch.load(tmp / "whole.pth")


def from_gpu(tmp):
    label, torch.serialization.location_tag = torch.serialization.location_tag, lambda storage: "cuda:0"
    try:
        torch.save(torch.ones(1), tmp / "gpu.pth")
    finally:
        torch.serialization.location_tag = label
    code = f"import torch; torch.load({str(tmp / 'gpu.pth')!r})"
    raise RuntimeError(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        ).stderr
    )


def in_script(code):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)


def cant_get(tmp):
    save = f"import torch\nclass Net(torch.nn.Module): pass\ntorch.save(Net(), {str(tmp / 'n.pth')!r})"
    assert in_script(save).returncode == 0
    raise RuntimeError(in_script(f"import torch; torch.load({str(tmp / 'n.pth')!r}, weights_only=False)").stderr)


def parallel():
    nn.Linear(2, 1).load_state_dict(nn.DataParallel(nn.Linear(2, 1)).state_dict())


def numpy_number(tmp):
    torch.save({"best": numpy.float64(1)}, tmp / "n.pth")
    torch.load(tmp / "n.pth")


class Hostile:
    def __reduce__(self):
        return os.system, ("true",)


def blocked(tmp):
    torch.save(Hostile(), tmp / "h.pth")
    torch.load(tmp / "h.pth")


def truncated(tmp, numbers=250_000):
    torch.save(torch.zeros(numbers), tmp / "t.pth")
    (tmp / "t.pth").write_bytes((tmp / "t.pth").read_bytes()[:-500])
    torch.load(tmp / "t.pth")


def tied(tmp):
    weight = torch.ones(2)
    save_file({"a": weight, "b": weight}, tmp / "t.safetensors")


REAL = {
    "Every key missing, every key unexpected": parallel,
    "numpy scalar refused": numpy_number,
    "Is this file safe?": blocked,
    "failed finding central directory": truncated,
    "Some tensors share memory": tied,
    "Missing key(s) in state_dict": missing,
    "Unexpected key(s) in state_dict": unexpected,
    "size mismatch for …": mismatch,
    "Expected state_dict to be dict-like": a_path,
    "optimizer got an empty parameter list": empty_list,
    "mat1 and mat2 shapes cannot be multiplied": shapes,
    "doesn't match the size of optimizer's group": group_size,
    "KeyError: 'momentum'": momentum,
    "Weights only load failed": weights_only,
    "Attempting to deserialize object on a CUDA device": from_gpu,
    "Can't get attribute 'Net'": cant_get,
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_error_finds_its_lesson(name, tmp_path):
    cause = REAL[name]
    with pytest.raises(Exception) as caught:
        cause(tmp_path) if cause.__code__.co_argcount else cause()
    words = f"{type(caught.value).__name__}: {caught.value}"
    assert name in [hit.name for hit in find(words)], words


def test_a_small_truncated_file_says_less_and_is_found_too(tmp_path):
    with pytest.raises(OSError, match="Invalid argument") as caught:
        truncated(tmp_path, numbers=5_000)
    assert find(str(caught.value))[0].name == "failed finding central directory"


def test_another_number_of_groups():
    with pytest.raises(ValueError) as caught:
        groups()
    assert find(str(caught.value))[0].section == "Whose buffer is it?"


@pytest.mark.parametrize(
    "worry, section",
    [
        ("loss jumped after resume", "What a resume needs"),
        ("file is huge", "What is in the file"),
        ("my best model is the same as the last", "A photograph or a window?"),
        ("is state_dict a copy", "Which copies are copies?"),
        ("my new lr is ignored", "What a resume needs"),
        ("works in the notebook fails in the script", "In another process"),
        ("layers in a list are not trained", "What gets in, what stays out"),
        ("named_buffers", "What gets in, what stays out"),
        ("checkpoint three times the model", "What it weighs"),
        ("different results after loading", "Same weights, other answers"),
        ("no module named models", "The refactor lab"),
        ("which parameter does the buffer belong to", "Whose buffer is it?"),
        ("optimizer state empty", "Before the first step"),
        ("missing", "Read the error"),
        ("with strict=False it works", "strict=False is a choice, not a cure"),
        ("same seed, but another run", "Random numbers"),
        ("shuffles like epoch 0", "Position in the data"),
        ("the scheduler reset my learning rate", "The scheduler"),
        ("is this file safe", "A file is a program"),
        ("killed while saving", "Never half a file"),
        ("my old checkpoint no longer loads", "Old files, new code"),
        ("I changed the number of classes", "Another head"),
    ],
)
def test_a_worry_in_plain_words_finds_its_section(worry, section):
    assert section in [hit.section for hit in find(worry)]


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda s: s.name)
def test_each_symptom_is_found_by_each_of_its_signs(symptom):
    for sign in symptom.signs:
        assert symptom in find(sign), sign
    headings = [
        line.lstrip("# ")
        for cell in nbformat.read(NOTEBOOKS / f"{symptom.lesson}.ipynb", 4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    assert any(symptom.section in heading for heading in headings), symptom.section


def test_nonsense_finds_nothing():
    assert find("zzqq blorp") == [] and find("") == []
