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


def _row(name: str, signs: str, advice: str, lesson: int, section: str) -> Symptom:
    return Symptom(name, tuple(signs.split(" | ")), advice, LESSONS[lesson], section)


SYMPTOMS = (
    _row(
        "Missing key(s) in state_dict",
        "missing key | missing keys",
        "The model has a name that the file has not. Put both lists of keys side by side.",
        6,
        "Read the error",
    ),
    _row(
        "Unexpected key(s) in state_dict",
        "unexpected key | unexpected keys",
        "The file has a name that the model has not; often the whole checkpoint was passed, not its model_state.",
        6,
        "Five families",
    ),
    _row(
        "size mismatch for …",
        "size mismatch | copying a param with shape",
        "Same name, another shape. strict=False does not forgive it, and what fitted was already copied.",
        6,
        "Another head",
    ),
    _row(
        "Expected state_dict to be dict-like",
        "dict-like",
        "You passed a path or a model. torch.load(path) gives the dict, model.state_dict() too.",
        4,
        "You might think",
    ),
    _row(
        "My best weights became my last weights",
        "best weights | best model last | snapshot changes | best_model same as last | best changed",
        "A state dict is a window on the model. copy.deepcopy keeps a moment.",
        2,
        "A photograph or a window?",
    ),
    _row(
        "Is state_dict() a copy?",
        "is a copy | copy of state_dict | state_dict copy | shallow copy",
        "No: its tensors are the model's. copy() and dict() copy only the dict.",
        2,
        "Which copies are copies?",
    ),
    _row(
        "A layer is not saved or not trained",
        "layer not saved | list of layers | layers in a list | layer not trained | parameters missing from list",
        "A Python list or dict hides its modules. nn.ModuleList and nn.ModuleDict register them.",
        2,
        "What gets in, what stays out",
    ),
    _row(
        "A buffer is missing from the state dict",
        "buffer missing | named_buffers | persistent | buffer not saved",
        "register_buffer(…, persistent=False) keeps it out.",
        2,
        "What gets in, what stays out",
    ),
    _row(
        "optimizer got an empty parameter list",
        "empty parameter list | optimizer got an empty",
        "Nothing is registered: the layers hide in a list, or the tensors are not nn.Parameter.",
        1,
        "What registers itself",
    ),
    _row(
        "mat1 and mat2 shapes cannot be multiplied",
        "mat1 and mat2 | cannot be multiplied",
        "A Linear's weight is out × in. Transpose it, or let the module do the product.",
        1,
        "Out by in",
    ),
    _row(
        "My optimizer's state is empty",
        "optimizer state empty | state empty | no momentum buffer | state is {}",
        "It fills at the first step, and only for parameters that got a gradient.",
        3,
        "Empty before the first step",
    ),
    _row(
        "Which buffer belongs to which parameter?",
        "by name | optimizer names | which parameter | buffers swapped | reordered parameters | order of parameters",
        "Optimizer state is matched by position. Keep the order of parameters.",
        3,
        "Positions, not names",
    ),
    _row(
        "doesn't match the size of optimizer's group",
        "match the size of optimizer | different number of parameter groups | parameter group that doesn't",
        "The optimizer was given another number of parameters or groups than the one that was saved.",
        3,
        "Positions, not names",
    ),
    _row(
        "My file is huge",
        "file is huge | checkpoint too big | too large | file size | huge checkpoint | grows",
        "A saved slice takes its whole storage with it. clone() before saving.",
        4,
        "What is in the file",
    ),
    _row(
        "The checkpoint is three times the model",
        "three times | 3x | adam checkpoint | twice the size",
        "Adam keeps two buffers for each parameter.",
        3,
        "What it weighs",
    ),
    _row(
        "KeyError: 'momentum'",
        "keyerror: 'momentum' | keyerror momentum | 'momentum'",
        "The state of another kind of optimizer was loaded, such as Adam's into SGD.",
        4,
        "What a resume needs",
    ),
    _row(
        "My new learning rate is ignored",
        "learning rate | new lr | old lr | lr ignored | lr came back | wrong lr",
        "Loading the optimizer brings back the saved param_groups. Set lr after loading.",
        4,
        "What a resume needs",
    ),
    _row(
        "Loss jumped after resume",
        "loss jump | loss jumped | loss jumps | loss went up after | resume worse | jumped after resume",
        "A part was not restored: most often the optimizer's buffers.",
        4,
        "What a resume needs",
    ),
    _row(
        "Different answers after loading",
        "different results | different answers | different outputs | eval | results differ",
        "The mode is not saved. Call eval() after loading.",
        4,
        "Same weights, other answers",
    ),
    _row(
        "Attempting to deserialize object on a CUDA device",
        "cuda device | deserialize object | no gpu | cuda.is_available | without a gpu",
        'Pass map_location="cpu" to torch.load.',
        4,
        "From a GPU, without a GPU",
    ),
    _row(
        "Weights only load failed",
        "weights only load failed | weights_only | unsupported global | weightsunpickler",
        "The file holds more than tensors: most often a whole model.",
        5,
        "Refused by default",
    ),
    _row(
        "Can't get attribute 'Net'",
        "can't get attribute | cannot get attribute",
        "A pickled model stores where its class lives, and the class is not there.",
        5,
        "Works here, fails there",
    ),
    _row(
        "No module named … while loading",
        "no module named | modulenotfounderror",
        "A pickled model asks for the module that its class was imported from.",
        5,
        "The refactor lab",
    ),
    _row(
        "Works in the notebook, fails in the script",
        "works in the notebook | fails in the script | __main__",
        "The class was pickled as __main__.Net, and the script's __main__ is another module.",
        5,
        "Works here, fails there",
    ),
    _row(
        "Every key missing, every key unexpected",
        "module. | _orig_mod. | dataparallel | torch.compile | prefix",
        "Only a prefix differs. Take it off with key.removeprefix, and load strictly.",
        6,
        "Rename, load, verify",
    ),
    _row(
        "With strict=False it works",
        "strict=false | strict false | incompatiblekeys | nothing loaded",
        "It raises nothing, and may have loaded nothing. Read the report that it returns.",
        6,
        "strict=False is a choice, not a cure",
    ),
    _row(
        "Another number of classes",
        "new head | another head | number of classes | num_classes | change the head",
        "Leave out what does not fit by shape, and train it.",
        6,
        "Another head",
    ),
    _row(
        "A layer was renamed",
        "renamed | old checkpoint | old file | library update | num_batches_tracked",
        "A pre-hook in the class renames old keys for everybody.",
        6,
        "Old files, new code",
    ),
    _row(
        "The resumed run is another run",
        "not reproducible | resume exactly | not bit identical | same seed | random numbers",
        "Save the state of each generator, not only its seed.",
        7,
        "Random numbers",
    ),
    _row(
        "The shuffle starts again",
        "shuffle | shuffles like epoch 0 | same order | dataloader position | sampler",
        "A loader remembers nothing. Save its generator's state and the number of batches done.",
        7,
        "Position in the data",
    ),
    _row(
        "The scheduler resets my learning rate",
        "scheduler | base_lrs | lambdalr | lr_lambdas | scheduler reset",
        "It computes from base_lrs, which it remembers. Change that too.",
        7,
        "The scheduler",
    ),
    _row(
        "Is this file safe?",
        "safe | stranger | malicious | hostile | pickle virus | module is blocked | blocked",
        "Load with weights_only=True, which refuses every name that is not on its list.",
        8,
        "A file is a program",
    ),
    _row(
        "numpy scalar refused",
        "numpy | multiarray.scalar | add_safe_globals | safe_globals | not an allowed global by default",
        "Save float(value). Allow a name only for your own file, and only once.",
        8,
        "What the guard lets pass",
    ),
    _row(
        "failed finding central directory",
        "central directory | pytorchstreamreader | errno 22 | invalid argument | truncated | corrupt | eoferror",
        "The end of the file is missing. Get it again, and compare its hash.",
        8,
        "Damaged files",
    ),
    _row(
        "Some tensors share memory",
        "share memory | tied weights | shared tensors | non contiguous",
        "safetensors wants one name for one tensor. save_model knows ties.",
        8,
        "safetensors",
    ),
    _row(
        "Killed while saving, now nothing loads",
        "killed while saving | half a file | power cut | crash while saving | disk full",
        "Write beside the path, flush, rename.",
        8,
        "Never half a file",
    ),
)


def find(words: str, most: int = 3) -> list[Symptom]:
    """The symptoms that fit an error text or a worry best, best first; empty if none does.

    A sign that stands in the text word for word outweighs signs that only share words with it.
    """
    line = " ".join(words.lower().split())
    scored = [(max(_score(sign, line) for sign in (*s.signs, s.name.lower())), -k, s) for k, s in enumerate(SYMPTOMS)]
    return [s for score, _, s in sorted(scored, key=lambda item: item[:2], reverse=True)[:most] if score > 0]


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
