"""The symptom finder's table: what people see or fear, and the section of the lesson that explains it."""

from __future__ import annotations

import re
from dataclasses import dataclass

LESSONS = {
    1: "01_build_a_model",
    2: "02_read_the_state_dict",
    3: "03_inside_the_optimizer",
    4: "04_save_and_load",
    5: "05_why_not_the_whole_model",
    6: "06_when_keys_do_not_match",
    7: "07_resume_exactly",
    8: "08_share_safely",
}

EMPTY = "Type at least a word. A whole traceback works too."
NONE = "Nothing fits. Try the last line of the error, or the name of the call that failed."


@dataclass(frozen=True)
class Symptom:
    """`signs` are fragments of an error or of a worry; `advice` is one sentence; `section` a heading of `lesson`."""

    name: str
    signs: tuple[str, ...]
    advice: str
    lesson: str
    section: str


def _read(block: str) -> Symptom:
    head, signs, advice = block.splitlines()
    name, _, place = head.partition(" → ")
    number, _, section = place.partition(" ")
    return Symptom(name, tuple(signs.split(" | ")), advice, LESSONS[int(number)], section)


_TABLE = """
Missing key(s) in state_dict → 6 Read the error
missing key | missing keys
The model has a name that the file has not. Put both lists of keys side by side.

Unexpected key(s) in state_dict → 6 Five families
unexpected key | unexpected keys
The file has a name that the model has not; often the whole checkpoint was passed, not its model_state.

size mismatch for … → 6 Another head
size mismatch | copying a param with shape
Same name, another shape. strict=False does not forgive it, and what fitted was already copied.

Expected state_dict to be dict-like → 4 You might think
dict-like
You passed a path or a model. torch.load(path) gives the dict, model.state_dict() too.

My best weights became my last weights → 2 A photograph or a window?
best weights | best model last | snapshot changes | best_model same as last | best changed
A state dict is a window on the model. copy.deepcopy keeps a moment.

Is state_dict() a copy? → 2 Which copies are copies?
is a copy | copy of state_dict | state_dict copy | shallow copy
No: its tensors are the model's. copy() and dict() copy only the dict.

A layer is not saved or not trained → 2 What gets in, what stays out
layer not saved | list of layers | layers in a list | layer not trained | parameters missing from list
A Python list or dict hides its modules. nn.ModuleList and nn.ModuleDict register them.

A buffer is missing from the state dict → 2 What gets in, what stays out
buffer missing | named_buffers | persistent | buffer not saved
register_buffer(…, persistent=False) keeps it out.

optimizer got an empty parameter list → 1 What registers itself
empty parameter list | optimizer got an empty
Nothing is registered: the layers hide in a list, or the tensors are not nn.Parameter.

mat1 and mat2 shapes cannot be multiplied → 1 Out by in
mat1 and mat2 | cannot be multiplied
A Linear's weight is out × in. Transpose it, or let the module do the product.

My optimizer's state is empty → 3 Before the first step
optimizer state empty | state empty | no momentum buffer | state is {}
It fills at the first step, and only for parameters that got a gradient.

Which buffer belongs to which parameter? → 3 Whose buffer is it?
by name | optimizer names | which parameter | buffers swapped | reordered parameters | order of parameters
Optimizer state is matched by position. Keep the order of parameters.

doesn't match the size of optimizer's group → 3 Whose buffer is it?
match the size of optimizer | different number of parameter groups | parameter group that doesn't
The optimizer was given another number of parameters or groups than the one that was saved.

My file is huge → 4 What is in the file
file is huge | checkpoint too big | too large | file size | huge checkpoint | grows
A saved slice takes its whole storage with it. clone() before saving.

The checkpoint is three times the model → 3 What it weighs
three times | 3x | adam checkpoint | twice the size
Adam keeps two buffers for each parameter that it trains.

KeyError: 'momentum' → 4 What a resume needs
keyerror: 'momentum' | keyerror momentum | 'momentum'
The state of another kind of optimizer was loaded, such as Adam's into SGD.

My new learning rate is ignored → 4 What a resume needs
learning rate | new lr | old lr | lr ignored | lr came back | wrong lr
Loading the optimizer brings back the saved param_groups. Set lr after loading.

Loss jumped after resume → 4 What a resume needs
loss jump | loss jumped | loss jumps | loss went up after | resume worse | jumped after resume
A part was not restored: most often the optimizer's buffers.

Different answers after loading → 4 Same weights, other answers
different results | different answers | different outputs | eval | results differ
The mode is not saved. Call eval() after loading.

Attempting to deserialize object on a CUDA device → 4 From a GPU, without a GPU
cuda device | deserialize object | no gpu | cuda.is_available | without a gpu
Pass map_location="cpu" to torch.load.

Weights only load failed → 5 What torch.load says
weights only load failed | weights_only | unsupported global | weightsunpickler
The file holds more than tensors: most often a whole model.

Can't get attribute 'Net' → 5 In another process
can't get attribute | cannot get attribute
A pickled model stores where its class lives, and the class is not there.

No module named … while loading → 5 The refactor lab
no module named | modulenotfounderror
A pickled model asks for the module that its class was imported from.

Works in the notebook, fails in the script → 5 In another process
works in the notebook | fails in the script | __main__
The class was pickled as __main__.Net, and the script's __main__ is another module.

Every key missing, every key unexpected → 6 Rename, load, verify
module. | _orig_mod. | dataparallel | torch.compile | prefix
Only a prefix differs. Take it off with key.removeprefix, and load strictly.

With strict=False it works → 6 strict=False is a choice, not a cure
strict=false | strict false | incompatiblekeys | nothing loaded
It raises nothing, and may have loaded nothing. Read the report that it returns.

Another number of classes → 6 Another head
new head | another head | number of classes | num_classes | change the head
Leave out what does not fit by shape, and train it.

A layer was renamed → 6 Old files, new code
renamed | old checkpoint | old file | library update | num_batches_tracked
A pre-hook in the class renames old keys for everybody.

The resumed run is another run → 7 Random numbers
not reproducible | resume exactly | not bit identical | same seed | random numbers
Save the state of each generator, not only its seed.

The shuffle starts again → 7 Position in the data
shuffle | shuffles like epoch 0 | same order | dataloader position | sampler
DataLoader remembers nothing. Save its generator's state and the number of batches done.

The scheduler resets my learning rate → 7 The scheduler
scheduler | base_lrs | lambdalr | lr_lambdas | scheduler reset
LambdaLR computes from base_lrs, which it remembers. Set lr, initial_lr and base_lrs.

Is this file safe? → 8 A file is a program
safe | stranger | malicious | hostile | pickle virus | module is blocked | blocked
Load with weights_only=True and torch 2.6 or later, which refuses every name that is not on its list.

numpy scalar refused → 8 What the guard lets pass
numpy | multiarray.scalar | add_safe_globals | safe_globals | not an allowed global by default
Save float(value). Allow a name only for your own file, and only once.

failed finding central directory → 8 Damaged files
central directory | pytorchstreamreader | errno 22 | invalid argument | truncated | corrupt | eoferror
The end of the file is missing or damaged. Get it again, and compare its hash.

Some tensors share memory → 8 safetensors
share memory | tied weights | shared tensors | non contiguous
safetensors wants one name for one tensor. save_model knows ties.

Killed while saving, now nothing loads → 8 Never half a file
killed while saving | half a file | power cut | crash while saving | disk full
Write beside the path under a name of your own, flush, rename.
"""
SYMPTOMS = tuple(map(_read, _TABLE.strip().split("\n\n")))


def find(words: str, most: int = 3) -> list[Symptom]:
    """The symptoms that fit an error text or a worry best, best first; empty if none does.

    A sign that stands in the text word for word outweighs signs that only share words with it.
    """
    line = " ".join(words.lower().split())
    scored = [(max(_score(sign, line) for sign in (*s.signs, s.name.lower())), -k, s) for k, s in enumerate(SYMPTOMS)]
    return [s for score, _, s in sorted(scored, key=lambda item: item[:2], reverse=True)[:most] if score > 0]


def answer(words: str) -> str:
    """What `find` finds, as Markdown with a link to each section."""
    if not words.strip():
        return EMPTY
    return (
        "\n".join(
            f"{k}. **{_plain(hit.name)}**  \n{_plain(hit.advice)}  \n[Lesson {hit.lesson[:2]}: {hit.section}]"
            f"({hit.lesson}.ipynb#{hit.section.replace(' ', '-')})"
            for k, hit in enumerate(find(words), 1)
        )
        or NONE
    )


def _plain(words: str) -> str:
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", words)


def _score(sign: str, line: str) -> float:
    if sign in line:
        return 10.0 + len(sign)
    if len(line) > 3 and line in sign:
        return 5.0 + len(line)
    wanted, given = (
        set(re.findall(r"[a-z_']{3,}", text)) - {"the", "and", "for", "not", "state_dict", "model"} for text in (sign, line)
    )
    common = wanted & given
    return len(common) / len(wanted) if len(common) * 2 > len(wanted) else 0.0
