"""The finder, put to every error that the course explains, as people paste it, and to errors that have nothing to do with it."""

import re
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.ultratb import VerboseTB

from beats import sections
from helpers import symptoms
from test_errors import ALL, bare, main, run  # noqa: F401

TOLD = [entry for entry in ALL if entry.told.get("messages")]
each_error = pytest.mark.parametrize("entry", TOLD, ids=lambda entry: entry.told["address"])
UNRELATED = (Path(__file__).parent / "unrelated.txt").read_text(encoding="utf-8").splitlines()
FRAMES = """\
  File "/home/me/project/lr_scheduler.py", line 12, in <module>
    model.module.load_state_dict(torch.load(path, weights_only=True), strict=False)  # prefix "module."
  File "/home/me/project/safe_load.py", line 99, in resume_eval
    state = {key.removeprefix("module."): value for key, value in state.items()}
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/python3/site-packages/torch/nn/modules/module.py", line 1776, in _call_impl
    return forward_call(*args, **kwargs)
"""
LOG = """\
2026-01-31 10:00:00,123 INFO scheduler.py:17 - resuming from checkpoint, weights_only=False
[INFO] eval.py: loading state_dict of the optimizer on cuda:0
100%|██████████| 10/10 [00:01<00:00,  9.9it/s]
"""
EARLIER = """\
Traceback (most recent call last):
  File "/home/me/project/retrieval.py", line 3, in <module>
    raise LookupError("cache is cold")
LookupError: cache is cold

During handling of the above exception, another exception occurred:

"""


def raised(code, names):
    """The error that code raises, with its traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, "/home/me/project/train.py", "exec"), names)
        except BaseException as error:
            return error
    raise AssertionError(f"raised nothing: {code}")


def told(error):
    return "".join(traceback.format_exception(error))


def in_frames(text):
    head, _, rest = text.rpartition("Traceback (most recent call last):\n")
    return f"{head}Traceback (most recent call last):\n{FRAMES}{rest}"


def pasted(error):
    """The same error as it is pasted from a terminal, a log, a launcher, a notebook."""
    whole = told(error)
    last = "".join(traceback.format_exception_only(error))
    yield "last line", last
    yield "traceback", whole
    yield "frames of others", in_frames(whole)
    yield "in a log", LOG + in_frames(whole) + "srun: error: node7: task 0: Exited with exit code 1\n"
    yield "after another error", EARLIER + in_frames(whole)
    yield "of a rank", "".join(f"[rank0]: {line}" for line in whole.splitlines(keepends=True))
    yield "of a logger", "".join(f"2026-01-31 10:00:00,123 ERROR {line}" for line in whole.splitlines(keepends=True))
    coloured = VerboseTB(theme_name="linux", include_vars=False).text(type(error), error, error.__traceback__)
    yield "in a notebook", coloured


@each_error
def test_the_error_is_found_however_it_is_pasted(entry, main):  # noqa: F811
    run(entry.setup, main)
    error = raised(bare(entry.see), main)
    needs_frames = all(message.startswith("in torch.") for message in entry.told["messages"])
    for where, text in [*pasted(error)][needs_frames:]:
        found = [hit.address for hit in symptoms.find(text)]
        assert found[:1] == [entry.told["address"]], (where, found, text[-600:])


@pytest.mark.long
def test_errors_that_have_nothing_to_do_with_it_find_nothing(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    found = {}
    for code in UNRELATED:
        text = told(raised(code, {}))
        for variant in (text, LOG + in_frames(text), EARLIER + text):
            if hits := symptoms.find(variant):
                found[code] = [hit.name for hit in hits]
    capsys.readouterr()
    assert len(UNRELATED) >= 200 and len(found) <= 0.02 * len(UNRELATED), found


LISTED = {
    'Missing key(s) in state_dict: "c.weight", "bn.weight". Unexpected key(s) in state_dict: "resnet.c.weight", '
    '"resnet.bn.weight", "resnet.bn.num_batches_tracked".': "other-wrapper-prefix",
    'Missing key(s) in state_dict: "conv1.weight". Unexpected key(s) in state_dict: "features.0.weight", '
    '"features.1.num_batches_tracked".': "renamed-layers",
    'Missing key(s) in state_dict: "module.backbone.c.weight". Unexpected key(s) in state_dict: "backbone.c.weight".': (
        "module-prefix-in-the-model"
    ),
    'Missing key(s) in state_dict: "_orig_mod.model.w". Unexpected key(s) in state_dict: "model.w".': "orig-mod-prefix",
    'Missing key(s) in state_dict: "wte.weight". Unexpected key(s) in state_dict: "gpt.wte.weight", '
    '"gpt.h.0.attn.masked_bias".': "other-wrapper-prefix",
    'Unexpected key(s) in state_dict: "bn1.num_batches_tracked".': "num-batches-tracked",
    "size mismatch for c_attn.weight: copying a param with shape torch.Size([8, 24]) from checkpoint, the shape in current "
    "model is torch.Size([24, 8]).": "transposed-weight",
    "size mismatch for c_attn.weight: copying a param with shape torch.Size([24, 8]) from checkpoint, the shape in current "
    "model is torch.Size([48, 16]).": "another-model-size",
    "size mismatch for layer1.0.conv1.weight: copying a param with shape torch.Size([64, 64, 3, 3]) from checkpoint, the "
    "shape in current model is torch.Size([64, 64, 1, 1]).": "another-model-size",
    "size mismatch for body.weight: copying a param with shape torch.Size([64, 64]) from checkpoint, the shape in current "
    "model is torch.Size([32, 32]).": "another-model-size",
    'Missing key(s) in state_dict: "encoder.conv1.weight". Unexpected key(s) in state_dict: "encoder.module.conv1.weight".': (
        "module-prefix-in-the-file"
    ),
    'Missing key(s) in state_dict: "unet.c.weight". Unexpected key(s) in state_dict: "unet._orig_mod.c.weight".': "orig-mod-prefix",
    'Missing key(s) in state_dict: "head.3.weight". Unexpected key(s) in state_dict: "head.2.weight".': "moved-in-a-sequential",
    'Missing key(s) in state_dict: "list.0.Conv.weight". Unexpected key(s) in state_dict: "model.0.conv.weight".': "renamed-layers",
    'Missing key(s) in state_dict: "attn.q.weight", "attn.k.weight". Unexpected key(s) in state_dict: "attn.qkv.weight".': (
        "query-key-value-in-one"
    ),
}


SIZES = "RuntimeError: The size of tensor a (64) must match the size of tensor b (128) at non-singleton dimension 0\n"
FRAME = '  File "/site-packages/{}.py", line 9, in {}\n    loss = closure()\n'


@pytest.mark.parametrize(
    ("frames", "addresses"),
    [
        ([("me/train", "main"), ("torch/optim/adam", "step"), ("torch/utils/_contextlib", "wrapped")], ["size-of-tensor-in-step"]),
        ([("torch/optim/adam", "step"), ("me/model", "forward"), ("torch/nn/functional", "linear")], []),
        ([("me/model", "forward")], []),
    ],
    ids=["in the step", "in a closure of the step", "elsewhere"],
)
def test_where_in_torch_it_was_raised_counts(frames, addresses):
    text = "Traceback (most recent call last):\n" + "".join(FRAME.format(*frame) for frame in frames) + SIZES
    assert [hit.address for hit in symptoms.find(text)] == addresses
    assert [hit.address for hit in symptoms.find(text.replace("/", "\\"))] == addresses


@pytest.mark.parametrize("words", LISTED)
def test_what_load_state_dict_lists_is_read_list_by_list(words):
    text = f"RuntimeError: Error(s) in loading state_dict for Net:\n\t{words}\nsrun: error: node7: task 0: Exited\n"
    assert symptoms.find(text)[0].address == LISTED[words]


SIZED = [
    ("fc1.weight", "128, 400", "128, 784", "another-model-size"),
    ("lstm.weight_ih_l0", "512, 10", "1024, 10", "another-model-size"),
    ("down1.conv.0.weight", "128, 64, 3, 3", "64, 32, 3, 3", "another-model-size"),
    ("patch_embed.proj.weight", "768, 3, 16, 16", "768, 3, 32, 32", "another-model-size"),
    ("patch_embed.proj.weight", "768, 3, 16, 16", "768, 1, 16, 16", "other-number-of-channels"),
    ("inc.double_conv.0.weight", "64, 3, 3, 3", "64, 1, 3, 3", "other-number-of-channels"),
    ("conv1.weight", "64, 3, 7, 7", "64, 1, 7, 7", "other-number-of-channels"),
    ("fc.weight", "1000, 512", "10, 512", "other-number-of-classes"),
    ("classifier.4.weight", "21, 256, 1, 1", "2, 256, 1, 1", "other-number-of-classes"),
    ("model.embed_tokens.weight", "32000, 4096", "32001, 4096", "larger-vocabulary"),
    ("h.0.attn.c_attn.weight", "768, 2304", "2304, 768", "transposed-weight"),
    ("a.weight", "32000, 4096", "0", "empty-tensors"),
    ("layers.0.q_proj.weight", "8388608, 1", "4096, 4096", "quantised-checkpoint"),
]


@pytest.mark.parametrize(("key", "saved", "here", "address"), SIZED)
def test_which_numbers_of_a_shape_differ_counts(key, saved, here, address):
    """Only the first, and it is the classes or the vocabulary; only the second, and it is the inputs or the channels."""
    shapes = f"copying a param with shape torch.Size([{saved}]) from checkpoint, the shape in current model is torch.Size([{here}])."
    assert symptoms.find(f"RuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for {key}: {shapes}")[0].address == address


TORCHRUN = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:"
SAID = {
    "RuntimeError: Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same": [],
    'FileNotFoundError: No such file or directory: "model-00001-of-00003.safetensors"': ["shards-with-an-index", "no-such-file"],
    "FileNotFoundError: [Errno 2] No such file or directory: 'run/model.safetensors'": ["no-such-file"],
    f"{TORCHRUN}\ntrain.py FAILED\nRoot Cause (first observed failure):\n": ["one-rank-died"],
    f"KeyError: 'param_groups'\n{TORCHRUN}\ntrain.py FAILED\n": ["keyerror-param-groups", "one-rank-died"],
    "TypeError: Optimizer.load_state_dict() takes 2 positional arguments but 3 were given": ["optimizer-has-no-strict"],
    "AttributeError: 'OrderedDict' object has no attribute 'cuda'": ["dict-used-as-a-model"],
}


IMPORTS = """Traceback (most recent call last):
  File "/me/train.py", line 3, in <module>
{}    from models.yolo import Model
ModuleNotFoundError: No module named 'models'
"""


def test_an_import_that_fails_counts_where_a_file_asked_for_it():
    assert symptoms.find(IMPORTS.format("")) == []
    through = '  File "/site-packages/torch/serialization.py", line 9, in find_class\n'
    assert symptoms.find(IMPORTS.format(through))[0].address == "no-module-named-models"


LEADS = {
    'RuntimeError: Error(s) in loading state_dict for DataParallel:\n\tUnexpected key(s) in state_dict: "module.extra.weight".': (
        "unexpected-only"
    ),
    'Missing key(s) in state_dict: "module.bn.weight". Unexpected key(s) in state_dict: "module.bn1.weight".': "renamed-layers",
    "AttributeError: Can't get attribute '_rebuild_tensor_v2' on <module 'torch._utils' from 'x.py'>": "newer-file-version",
    "KeyError: 'pytorch-lightning_version'": "lightning-checkpoint",
    "when the run is resumed from a checkpoint, the scheduler resets my learning rate to the initial one": "other-schedule",
    "training starts again at epoch 0 after I resumed it": "begins-at-epoch-0",
    "Model behaves differently after saving and loading it": "other-answers",
    "best model was overridden by the latest one": "best-is-last",
    "Cannot load saved model": None,
    "weight loading problem": None,
    "confusion matrix": None,
    "how to plot a histogram": None,
}


@pytest.mark.parametrize("text", LEADS)
def test_where_it_leads_first_or_nowhere(text):
    assert next((hit.address for hit in symptoms.find(text)), None) == LEADS[text]


@pytest.mark.parametrize("text", SAID)
def test_what_is_found_and_in_which_order(text):
    assert [hit.address for hit in symptoms.find(text)] == SAID[text]


def test_no_entry_answers_to_the_text_of_another(capsys):
    """Printed, so that whoever adds an entry sees which others its words reach: `pytest -s -k text_of_another`."""
    pairs = []
    for entry in symptoms.table():
        for message in entry.messages:
            filled = message.strip("^$∎").translate(str.maketrans({"…": " x ", "@": "fc.weight", "%": "7", "~": "net", "#": "3"}))
            text = filled if message.startswith("^") else f"RuntimeError: {filled}"
            hits = [hit for hit in symptoms.find(text) if hit is not entry and not hit.common]
            pairs += [(entry.address, hit.address, message) for hit in hits]
            first = symptoms.find(text)[:1]
            assert first == [entry] or (entry.common and first), (entry.address, message, [hit.address for hit in first])
    with capsys.disabled():
        print(f"\n{len(pairs)} pairs answer to each other's text")
        for one, other, message in pairs:
            print(f"  {one} ~ {other}: {message[:80]}")


@pytest.mark.parametrize("entry", symptoms.table(), ids=lambda entry: entry.address)
def test_each_entry_is_found_by_what_people_say_for_it(entry):
    for words in entry.words:
        assert entry in symptoms.find(words), (words, [hit.address for hit in symptoms.find(words)])


def test_nothing_is_found_by_a_common_word_alone():
    for word in ("new", "state", "copy", "name", "model", "error", "file", "load", "key", "weights", "torch", "the", "zzz"):
        assert len(symptoms.find(word)) == 0, (word, [hit.name for hit in symptoms.find(word)])


@pytest.mark.parametrize("spelt", ["mising keys", "safetensor shared memroy", "optimzer state empty", "lfs ponter"])
def test_typing_errors_are_forgiven(spelt):
    right = spelt.replace("mising", "missing").replace("memroy", "memory").replace("optimzer", "optimizer").replace("ponter", "pointer")
    assert symptoms.find(spelt) == symptoms.find(right) != []


def test_an_index_lists_each_entry_once():
    index = symptoms.index()
    listed = re.findall(r"\]\(([^)]*#[^)]*)\)", index)
    assert len(listed) == len(symptoms.table()) == len({entry.name for entry in symptoms.table()})
    assert (Path(__file__).resolve().parents[2] / "notebooks" / "errors" / "README.md").read_text(encoding="utf-8") == index


@pytest.mark.parametrize("entry", symptoms.table(), ids=lambda entry: entry.address)
def test_the_section_of_each_entry_exists(entry):
    path = Path(__file__).resolve().parents[2] / "notebooks" / f"{entry.place}.ipynb"
    assert entry.section in [name for name, _ in sections(nbformat.read(path, as_version=4))]


def test_under_an_uncaught_error_stands_its_entry_if_that_is_sure(capsys):
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "helpers.symptoms")
    shell.run_cell('import torch\ntorch.nn.Linear(2, 1).load_state_dict("run.pth")')
    told = capsys.readouterr().out
    hit = symptoms.find("TypeError: Expected state_dict to be dict-like, got <class 'str'>.")[0]
    assert told.index("TypeError") < told.index(hit.name) and f"notebooks/{hit.link}" in told
    shell.run_cell("1 / 0")
    assert "notebooks/" not in capsys.readouterr().out


def test_a_log_is_read_from_the_standard_input():
    def run(text):
        command = [sys.executable, "-m", "helpers.symptoms"]
        return subprocess.run(command, input=text, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2])

    found = run(LOG + in_frames("Traceback (most recent call last):\nEOFError: Ran out of input\n"))
    assert found.returncode == 0 and symptoms.find("EOFError: Ran out of input")[0].name in found.stdout
    lost = run("ZeroDivisionError: division by zero")
    assert lost.returncode == 1 and "Nothing fits" in lost.stdout


def test_searches_in_plain_words():
    """`searches.txt` was written from the names alone; untuned, 84 % were right at once and 92 % among three."""
    searches = []
    for line in (Path(__file__).parent / "searches.txt").read_text(encoding="utf-8").splitlines():
        addresses, _, asked = line.partition(": ")
        searches += [(words, addresses.split(",")) for words in asked.split(" | ")]
    found = {words: [hit.address for hit in symptoms.find(words)] for words, _ in searches}
    lost = {words: found[words] for words, right in searches if not set(right) & set(found[words])}
    first = [words for words, right in searches if found[words][:1] and found[words][0] in right]
    assert len(searches) >= 450 and not lost and len(first) >= 0.95 * len(searches), lost
