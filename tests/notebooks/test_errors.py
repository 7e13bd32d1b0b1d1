"""Error by error: each entry stands alone, raises what it says, cures it, and is what the finder finds for it."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import sys
import tomllib
import traceback
import types
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from beats import sections
from helpers import symptoms
from refresh import binder_base

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("opening_a_file", "filling_a_model", "resuming_a_run", "building_and_saving")
BOOKS = [ROOT / "notebooks" / "errors" / f"{name}.ipynb" for name in NAMES]
BOOKS = [path for path in BOOKS if path.exists()]


@dataclass(frozen=True)
class Entry:
    """One entry: the setup of its notebook, its cells, and what its table says."""

    book: Path
    name: str
    setup: str
    cells: list[nbformat.NotebookNode]
    told: dict

    @property
    def see(self) -> str:
        return self.cells[1].source


def read(path):
    found = sections(nbformat.read(path, as_version=4))
    last = found[-1][1].pop()
    assert last.cell_type == "markdown" and last.source.startswith("Other errors: ")
    return found


def table(path):
    return tomllib.loads((ROOT / "helpers" / "symptoms" / f"{path.stem}.toml").read_text(encoding="utf-8"))["entry"]


def entries(path):
    (_, _), (_, [_, setup]), *found = read(path)
    told = {entry["name"]: entry for entry in table(path)}
    return [Entry(path, name, setup.source, cells, told[name]) for name, cells in found]


ALL = [entry for path in BOOKS for entry in entries(path)]
each_book = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
each_entry = pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.told["address"])


@pytest.fixture
def main(monkeypatch):
    """The names of a fresh program; its warnings, its folder, its list of modules and its environment end with it."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(os.environ)
    yield module.__dict__
    os.environ.clear()
    os.environ.update(before)
    workspace = module.__dict__.get("workspace")
    if workspace:
        workspace.cleanup()


def run(source, names):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(source, "<cell>", "exec"), names)
    return printed.getvalue()


def bare(source):
    """The cell's code with its one `try` taken off."""
    body = ast.parse(source).body
    [place] = [k for k, node in enumerate(body) if isinstance(node, ast.Try)]
    body[place : place + 1] = body[place].body
    return ast.unparse(ast.Module(body, []))


@each_book
def test_headings_are_the_names_of_the_table_in_its_order(path):
    (title, front), (setup, _), *found = read(path)
    assert (title, setup) == ("", "Setup") and len(front) == 1
    assert front[0].source.startswith(f"# Error by error: {path.stem.replace('_', ' ')}\n")
    assert "Run the setup cell, then the cells of your entry: nothing else is needed." in front[0].source
    assert f"{binder_base()}HEAD?urlpath=lab/tree/notebooks/errors/{path.name})" in front[0].source
    assert [name for name, _ in found] == [entry["name"] for entry in table(path)]


def test_names_and_addresses_are_unique():
    for what in ("name", "address"):
        assert max(Counter(entry.told[what] for entry in ALL).values()) == 1
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.told["address"]) for entry in ALL)


@each_entry
def test_an_entry_is_heading_error_cause_cure_and_more(entry):
    kinds = [cell.cell_type for cell in entry.cells]
    assert kinds == ["markdown", "code", "markdown", "code", "markdown"]
    heading, see, because, cure, more = entry.cells
    assert not re.search(r"`|__", entry.name), "would not be shown as it is written"
    assert len(heading.source.splitlines()) <= 3 and because.source.startswith("**Because:** ")
    assert re.match(r"\*\*More:\*\* \[Lesson \d\d: .+\]\(.+\)\n\nAlso said: ", more.source)
    assert see.outputs and cure.outputs, "shows nothing"
    assert "helpers" not in entry.setup + see.source + cure.source
    assert len([line for line in see.source.splitlines() if line.strip()]) <= 12
    assert all(cell.metadata.slideshow == {"slide_type": "skip"} for cell in entry.cells)


@each_entry
def test_the_table_says_enough(entry):
    assert 3 <= len(entry.told["words"]) <= 12 and 0 < len(entry.told["advice"]) < 150


@each_entry
def test_links_lead_to_a_section(entry):
    for target in re.findall(r"\]\(([^)\s]+\.ipynb)#([^)\s]+)\)", entry.cells[4].source):
        names = [name for name, _ in sections(nbformat.read(entry.book.parent / target[0], as_version=4))]
        assert target[1] in [name.replace(" ", "-") for name in names]


@each_entry
def test_an_entry_stands_alone_and_may_be_run_twice(entry, main):
    run(entry.setup, main)
    first = [run(cell.source, main) for cell in (entry.cells[1], entry.cells[3])]
    assert [run(cell.source, main) for cell in (entry.cells[1], entry.cells[3])] == first
    shown = "".join(output.get("text", "") for output in entry.cells[1].outputs)
    assert first[0] == shown


@each_entry
def test_the_finder_leads_from_the_error_to_its_entry(entry, main):
    run(entry.setup, main)
    try:
        run(bare(entry.see), main)
    except BaseException as caught:
        error = caught
    else:
        pytest.fail("raises nothing")
    if "messages" not in entry.told:
        return
    texts = {
        "with its class": "".join(traceback.format_exception_only(error)),
        "with its traceback": "".join(traceback.format_exception(error)),
    }
    if not isinstance(error, KeyError):
        texts["bare"] = str(error)
    if all(message.startswith("in torch.") for message in entry.told["messages"]):
        texts = {"with its traceback": texts["with its traceback"]}
    for kind, words in texts.items():
        assert [hit.name for hit in symptoms.find(words)][:1] == [entry.name], kind


@each_entry
def test_the_finder_leads_from_its_words_to_the_entry(entry):
    for phrase in entry.told["words"]:
        assert entry.name in [hit.name for hit in symptoms.find(phrase)], phrase
