"""The house: which room may import which, how large it is, that importing does nothing, that nothing lies unused."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "helpers"
FILES = sorted(HOUSE.rglob("*.py"))
FLOORS = {
    "lesson": set(),
    "describe": set(),
    "compare": {"describe"},
    "seal": set(),
    "family": set(),
    "owners": set(),
    "checkpoint": {"seal", "family", "owners"},
    "draw": {"describe", "compare"},
    "view": {"describe", "draw"},
    "scenes": {"lesson", "describe", "compare", "checkpoint", "draw"},
    "widgets": {"lesson", "describe", "compare", "draw", "view", "scenes"},
    "quiz": {"describe", "draw", "view"},
    "exercises": {"lesson", "quiz"},
}
OUTSIDE = {
    "lesson": {"torch"},
    "describe": {"torch"},
    "compare": {"torch"},
    "seal": {"torch"},
    "family": set(),
    "owners": {"torch", "numpy"},
    "checkpoint": {"torch", "tqdm"},
    "draw": {"torch", "matplotlib"},
    "view": {"ipywidgets"},
    "scenes": {"torch", "matplotlib", "numpy", "contourpy", "safetensors"},
    "widgets": {"torch", "ipywidgets", "IPython"},
    "quiz": {"ipywidgets"},
    "exercises": {"torch", "safetensors"},
}
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
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES if room(path) not in LESSONS_OWN)
    assert lines <= 2_050


def test_every_public_function_has_a_docstring_and_full_hints():
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "bowl":
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                assert node.returns and all(a.annotation for a in arguments), f"{path.name}: {node.name}"


def users():
    """Names used by notebooks, tests and benchmarks, and by the house itself outside their own definition."""
    texts = [path.read_text(encoding="utf-8") for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts.append("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    return "\n".join(texts), {path: path.read_text(encoding="utf-8") for path in FILES}


def test_nothing_lies_unused():
    outside, inside = users()
    for path in FILES:
        for node in ast.parse(inside[path]).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                word = re.compile(rf"\b{node.name}\b")
                used = word.search(outside) or any(
                    len(word.findall(text)) > (other == path) for other, text in inside.items() if other.stem != "__init__"
                )
                assert used, f"{path.relative_to(HOUSE)}: {node.name}"


IMPORT = """
import random, sys, time
import torch
start, before, seed = time.perf_counter(), set(sys.modules), torch.initial_seed()
state, python, threads = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
{code}
took = time.perf_counter() - start
assert torch.equal(state, torch.get_rng_state()) or {seeds}, "torch's random numbers moved"
assert python == random.getstate() and threads == torch.get_num_threads()
print(f"{{took:.3f}}")
"""


def timed(code, seeds=False, folder="."):
    environment = {**os.environ, "MPLCONFIGDIR": str(folder)} if folder != "." else os.environ
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(code=code, seeds=seeds)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    *printed, took = done.stdout.split()
    assert not printed
    return float(took)


ROOMS = "from helpers import checkpoint, compare, describe, draw, family, lesson, owners, quiz, scenes, seal, view, widgets"


def test_importing_does_nothing(tmp_path):
    timed(ROOMS)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run([sys.executable, "-c", ROOMS], cwd=empty, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr, list(empty.iterdir())) == (0, "", "", [])


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_setup_costs_at_most_a_second_over_torch(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    setup = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert min(timed(setup, seeds=True) for _ in range(3)) <= 1.0
