"""The house: which room may import which, how large it is, that importing does nothing, that nothing lies unused."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "helpers"
FILES = sorted(HOUSE.rglob("*.py"))
FLOORS = {
    "lesson": set(),
    "symptoms": set(),
    "files": set(),
    "pickles": {"files"},
    "describe": {"files", "pickles"},
    "mapping": {"describe"},
    "compare": {"describe", "mapping"},
    "owners": set(),
    "checkpoint": {"files", "pickles", "owners"},
    "draw": {"describe", "compare"},
    "clinic": {"files", "pickles", "describe", "compare", "symptoms", "draw"},
    "view": {"describe", "draw"},
    "scenes": {"lesson", "files", "pickles", "describe", "compare", "checkpoint", "clinic", "draw"},
    "widgets": {"lesson", "describe", "compare", "clinic", "draw", "view", "scenes", "symptoms"},
    "quiz": {"describe", "draw", "view"},
    "exercises": {"lesson", "quiz"},
}
OUTSIDE = {
    "lesson": {"torch"},
    "symptoms": set(),
    "files": set(),
    "pickles": set(),
    "owners": {"torch"},
    "describe": {"torch"},
    "mapping": {"torch"},
    "compare": {"torch"},
    "checkpoint": {"torch"},
    "draw": {"torch", "matplotlib"},
    "clinic": {"torch", "safetensors"},
    "view": {"ipywidgets"},
    "scenes": {"torch", "matplotlib", "numpy", "contourpy", "safetensors"},
    "widgets": {"torch", "ipywidgets", "IPython"},
    "quiz": {"ipywidgets"},
    "exercises": {"torch", "safetensors"},
}
DOCUMENTED = {"_exit", "_metadata", "_repr_mimebundle_"}
LESSONS_OWN = ("scenes", "exercises")


def room(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(path):
    """Dotted names of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "helpers":
            yield from (f"helpers.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent != HOUSE or path.stem != "__init__"],
    ids=lambda path: str(path.relative_to(HOUSE)),
)
def test_arrows_point_down(path):
    own = room(path)
    for name in imported(path):
        head, _, rest = name.partition(".")
        if head == "helpers":
            assert rest.split(".")[0] in FLOORS[own] | {own}, name
        elif head not in sys.stdlib_module_names:
            assert head in OUTSIDE[own], name


def test_nothing_outside_tests_and_notebooks_is_imported_by_the_house():
    assert not any(name.startswith(("notebooks", "tests", "benchmarks")) for path in FILES for name in imported(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_over_250_lines_and_no_function_over_40(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name


def test_the_budget():
    """Lines as the formatter lays them out: 476 are the finder's, 1,299 the clinic's, 2,447 all other rooms'."""
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if room(path) not in LESSONS_OWN)
    assert lines <= 4_222


def private_names(tree):
    """Names with one leading underscore that a module imports, or takes from anything but itself and its class."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {"self", "cls"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            words = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
            yield from (part for word in words for part in word.split(".") if part.startswith("_") and part != "__future__")
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in own):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr", "delattr"):
            yield from (value.value for value in node.args[1:2] if isinstance(value, ast.Constant))


def breaches(source):
    return {
        name for name in private_names(ast.parse(source)) if re.match("_(?!_)|__(?!.*__$)", name) and name not in DOCUMENTED
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_private_name_of_torch_or_of_anybody(path):
    assert breaches(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import torch._C",
        "from torch._utils import rebuild",
        "from torch import _utils",
        "torch._C.PyTorchFileReader",
        "model._modules",
        "self.model._modules",
        "getattr(tensor, '_cdata')",
        "storage()._cdata",
    ],
)
def test_a_private_name_is_found_wherever_it_stands(source):
    assert breaches(source)


def test_what_is_documented_and_what_is_ones_own_may_be_used():
    assert not breaches("from __future__ import annotations\nself._x; cls._y; state._metadata; x.__class__; getattr(x, 'y')")


def users():
    """Names used by notebooks, tests and benchmarks, and by the house itself outside their own definition."""
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("tests", "benchmarks", "publish")
        for path in (ROOT / folder).rglob("*.py")
    ]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts.append("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    return words_of("\n".join(texts)), {path: words_of(path.read_text(encoding="utf-8")) for path in FILES}


def words_of(text):
    return Counter(re.findall(r"\w+", text))


def test_nothing_lies_unused():
    outside, inside = users()
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name != "load_ipython_extension":
                used = node.name in outside or any(
                    words[node.name] > (other == path)
                    for other, words in inside.items()
                    if other.stem != "__init__" or words["def"]
                )
                assert used, f"{path.relative_to(HOUSE)}: {node.name}"


IMPORT = """
import os
import random
import sys
import ipywidgets
import matplotlib.figure
import torch

for code in sys.argv[1:]:
    if not os.fork():
        state, python, threads = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
        exec(code, {"__name__": "__main__"})
        if not torch.equal(state, torch.get_rng_state()):
            print("torch's random numbers moved")
        assert python == random.getstate() and threads == torch.get_num_threads()
        sys.stdout.flush()
        os._exit(0)
    print(os.wait()[1], flush=True)
"""
ROOMS = f"from helpers import {', '.join(sorted({room(path) for path in FILES} - {'__init__'}))}"
SEEDED = "torch's random numbers moved\n"


def said(codes, folder=None):
    """What each code says and its status, in a fork of a process that has torch and nothing of ours."""
    done = subprocess.run([sys.executable, "-c", IMPORT, *codes], cwd=folder, stdout=-1, stderr=subprocess.STDOUT, text=True)
    return re.findall(r"(?s)(.*?)(?<![^\n])(\d+)\n", done.stdout)


def test_importing_does_nothing_and_takes_no_part_of_torch_that_most_lessons_lack(tmp_path):
    heavy = "import sys; assert 'torch.distributed.checkpoint' not in sys.modules"
    assert said([f"{ROOMS}; {heavy}"], tmp_path) == [("", "0")]
    assert list(tmp_path.iterdir()) == []


def test_make_bench_finds_all_that_it_imports():
    done = subprocess.run([sys.executable, "-c", "import benchmarks.__main__"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_setup_must_not_do_is_seen():
    codes = ["pass", "print(1.5)", "import torch; torch.manual_seed(3)", "import random; random.random()"]
    quiet, printed, seeded, moved = said(codes)
    assert (quiet, printed, seeded) == (("", "0"), ("1.5\n", "0"), (SEEDED, "0")) and "AssertionError" in moved[0]


def test_a_setup_prints_nothing_and_moves_nothing_but_torchs_seed():
    books = sorted((ROOT / "notebooks").glob("*.ipynb"))
    cells = [json.loads(path.read_text(encoding="utf-8"))["cells"] for path in books]
    setups = [next("".join(cell["source"]) for cell in book if cell["cell_type"] == "code") for book in cells]
    found = dict(zip((path.stem for path in books), said(setups), strict=True))
    assert len(found) == 13 and not {name: told for name, told in found.items() if told not in (("", "0"), (SEEDED, "0"))}
