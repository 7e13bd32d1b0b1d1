"""No term before its explanation: the first cell of the course that has the word has the words that explain it too."""

import importlib
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TERMS = {
    "state dict": "names, and tensors",
    "tensor": "arrays of numbers",
    "seed": "makes them the same for everybody",
    "checkpoint": "one file with two state dicts",
    "relu": "sets negative numbers to 0",
    "parameter": "those that training changes",
    "key": "the path to a tensor",
    "silent": "a unit that the relu sets to 0",
    "buffer": "kept and not trained",
    "dropout": "sets numbers to 0 at random",
    "autograd": "record for computing gradients",
    "batchnorm": "normalises each batch",
    "persistent": "left out",
    "tied": "one tensor under two names",
    "storage": "the memory that a tensor reads",
    "momentum buffer": "keeps one tensor for each parameter",
    "frozen": "requires_grad=false",
    "dtype": "number format",
    "device": "cpu or gpu",
    "pickle": "python's own format for objects",
    "view": "reads the storage of another tensor",
    "casts": "to its own dtype",
    "size mismatch": "one name with two shapes",
    "head": "its last layer",
    "eval mode": "model.eval()",
    "bfloat16": "a format of 16 bits",
    "guard": "weights_only=true",
    "exported program": "without your python code",
    "wrapper": "has your model as its child",
    "prefix": "something before it",
    "body": "all before the head",
    "hook": "sees the dict before it is loaded",
    "migration": "lets old files load",
    "scheduler": "lowers the learning rate",
    "sigkill": "which no program can catch",
    "generator": "which makes its random numbers",
    "epoch": "one pass over all rows",
    "closed form": "computes from its base_lrs each time",
    "chained": "multiply the rate in the group",
    "mixed precision": "float16 beside float32",
    "safetensors": "a format that cannot hold a program",
    "stride": "how many numbers it is to the next row",
    "central directory": "table of contents",
    "checksum": "a number that its bytes give",
    "hash": "stand for the whole file",
    "flush": "write out what is still in memory",
    "rank": "each has a number",
    "page": "4 kb each",
    "shard": "some files, and an index",
    "ema": "goes a small part of the way to the model",
    "fine-tuning": "training goes on, with other data",
    "task vector": "fine-tuned minus base",
    "soup": "the average of models that were fine-tuned from one base",
    "lora": "two thin matrices",
    "adapter": "the thin matrices under",
    "ddp": "every rank holds the whole model",
    "barrier": "nobody leaves it before all have come",
}


def read(source):
    """Prose as a reader meets it, small: no code, no links to other lessons (who follows one is on the way there)."""
    prose = "\n".join(line for line in source.split("\n") if not re.search(r"\]\(\d\d_\w+\.ipynb\).*\|$", line))
    return re.sub(r"\]\([^)]*\)", "]", prose.replace("*", "")).lower()


def cells():
    """The words of each cell, in the order of the course, but for titles and goals, which promise."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        quiz = importlib.import_module(f"helpers.exercises.lesson_{path.name[:2]}")
        for number, cell in enumerate(nbformat.read(path, 4).cells):
            asked = re.match(r"quiz\.(\w+)\.ask", cell.source)
            if asked:
                prediction = getattr(quiz, asked[1])
                yield path.name, number, read(" ".join([prediction.question, *(c.words for c in prediction.choices)]))
            elif cell.cell_type == "markdown" and number > 1:
                yield path.name, number, read(cell.source)


@pytest.mark.parametrize("term", TERMS)
def test_the_first_cell_with_a_term_explains_it(term):
    word = re.compile(rf"(?<![\w.]){re.escape(term)}s?(?!\w)")
    name, number, words = next(cell for cell in cells() if word.search(re.sub("`[^`]*`", "", cell[2])))
    assert TERMS[term] in words.replace("`", ""), f"{name}[{number}]: {words[:200]}"


AMERICAN = re.compile(
    r"\b(colors?|behaviors?|centers?|gray|favorites?|neighbors?|labeled|canceled|modeling|learned|catalogs?|meters?"
    r"|(normal|initial|recogn|quant|organ|serial)iz\w*|optimiz(?!er)\w*|analyz\w*)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.rglob("*.ipynb")), ids=lambda path: "_".join(path.parts[-2:]))
def test_the_prose_is_british(path):
    """But for what torch and other people say: code, headings of error by error, wordings."""
    prose = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    own = re.sub("`[^`]*`|^## .*$|^(?:Also said|Messages that belong to this lesson): .*$", "", "\n".join(prose), flags=re.MULTILINE)
    assert not AMERICAN.findall(own)
