"""What a file is, whether it is whole, and whether it may be opened: the first two questions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from helpers import files, pickles
from helpers.clinic.finding import Finding, explained, place_of
from helpers.describe import read_file, size_name, words_of

SMALL, MOST_NAMES = 64 << 20, 4
OTHER_TOOLS = ("TorchScript", "exported", "npz", "npy", "HDF5", "GGUF", "distributed")
TENSORS = ("torch", "old torch", "safetensors", "index")
_PLACES = {
    "cut zip": "failed-finding-central-directory",
    "cut safetensors": "safetensors-cut",
    "LFS pointer": "lfs-pointer",
    "web page": "html-page",
    "empty": "empty-file",
    "missing": "no-such-file",
    "folder": "is-a-directory",
    "distributed": "is-a-directory",
    "pickle": "plain-pickle",
    "TorchScript": "torchscript-in-torch-load",
    "gzip": "other-first-byte",
}
_CODE = {
    "TorchScript": "import torch\n\nprogram = torch.jit.load({!r}, map_location='cpu')\nstate = program.state_dict()",
    "distributed": "from torch.distributed.checkpoint.format_utils import dcp_to_torch_save\n\n"
    "dcp_to_torch_save({!r}, 'whole.pth')",
    "npz": "import numpy\nimport torch\n\nstate = {{key: torch.from_numpy(value) for key, value in numpy.load({!r}).items()}}",
}
_ENDINGS = {
    ".safetensors": ("safetensors", "cut safetensors"),
    ".gguf": ("GGUF",),
    ".npz": ("npz",),
    ".json": ("index", "JSON"),
}
_LOAD = 'torch.load({!r}, map_location="cpu"{}, weights_only=True)'
_FROM_FILE = "torch.load(file, map_location='cpu', weights_only=True)"
_SHARDS = """import json
from pathlib import Path

{}

index = Path({!r})
names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
checkpoint = {{}}
for name in names:
    checkpoint |= {}"""
_OF_A_MODEL = re.compile(r"torch\.nn\.[\w.]+|torch\._utils\.\w+|torch\._C\._nn\.\w+|[\w.]+\.[A-Z]\w*")
_PYTHONS = sys.stdlib_module_names - {"__main__"}
_DEVICE = re.compile(rb"(?:X(.)\0\0\0|U(.))((?:cuda|mps|xpu|hpu|npu|xla)(?::\d+)?)", re.DOTALL)


@dataclass
class Opened:
    """What was found on the way in, the contents (None: not opened), and the lines that load them as `checkpoint`."""

    findings: list[Finding]
    contents: Any
    head: str
    devices: tuple[str, ...] = field(default=())
    kind: str = "contents"


def open_up(path: Path, verify: bool, report: Callable[[int], object]) -> Opened:
    """The first two questions about a path, whatever lies there."""
    try:
        with files.open_file(path) as file:
            header = files.header_of(file, path.name)
            found = [_kind(header, path), *_checksums(header, verify, report)]
            pickled = header.kind in ("torch", "old torch")
            found += [_permission(header, file, path)] if pickled else _foreign(header, file)
            devices = _devices(header, file) if pickled and found[-1].level != "bad" else ()
    except (OSError, ValueError):
        return Opened([_kind(files.read_header(path), path)], None, "")
    opened = Opened(found, None, _head(header.kind, path), devices, header.kind)
    if header.kind in TENSORS and all(one.level != "bad" for one in found):
        try:
            opened.contents = _read(header, path)
        except Exception as error:
            words = str(error) if isinstance(error, ValueError) else f"It could not be read: {words_of(error)}."
            why = "Rename it." * ("codec can't encode" in words) or "Its pickle or its table of contents is broken."
            found.append(Finding(words, why, level="bad"))
    return opened


def _kind(header: files.Header, path: Path) -> Finding:
    kind = header.kind
    level = "ok" if kind in TENSORS else "look" if kind in OTHER_TOOLS else "bad"
    ending = path.suffix.lower()
    why = f"The first bytes say so; {size_name(header.size)}." if header.size else ""
    if part := re.search(r"-0*(\d+)-of-0*(\d+)\.", path.name):
        why += f" By its name it is part {part[1]} of {part[2]}: give the index beside it, *.index.json, to look at all."
    if kind not in _ENDINGS.get(ending, (kind,)):
        why += f" Its ending {ending} says something else, and is wrong."
    if kind in ("distributed", "shard"):
        why = ".metadata says what lies where. It is a pickle, read without a guard: do this to a folder of your own only."
        kind, path = "distributed", path.parent if kind == "shard" else path
    why += " Then examine(state, model) says whether it fits." * ("state =" in _CODE.get(kind, ""))
    place = place_of(_PLACES[kind]) if kind in _PLACES else ""
    return Finding(header.words, why, _CODE.get(kind, "").format(str(path)), place, level=level)


def _checksums(header: files.Header, verify: bool, report: Callable[[int], object]) -> list[Finding]:
    if header.archive is None or not header.checked:
        why = "Whether a bit has changed cannot be told; compare with a checksum that its maker gives."
        return [Finding("It carries no checksums.", why, sure="cannot be told")] * (header.kind in TENSORS[:-1])
    if header.size > SMALL and not verify:
        what = f"Its checksums were not looked at: it is larger than {size_name(SMALL)}."
        return [Finding(what, "Ask for it with verify=True, or --verify.", sure="cannot be told")]
    if (damaged := files.first_damaged(header.archive, report)) is None:
        return [Finding("It is whole: every checksum holds.", "Each entry has one, which torch does not look at.")]
    what = f"It is damaged: the entry {damaged} is not what was saved."
    return [explained(what, "Its checksum does not hold. Get the file again.", "damaged-in-the-middle")]


def _foreign(header: files.Header, file: BinaryIO) -> list[Finding]:
    """What is in a file that torch did not write: the arrays of an archive, or what a pickle asks for."""
    names = _listed([entry.name.removesuffix(".npy") for entry in header.entries])
    if header.kind != "pickle":
        return [Finding(f"Its arrays: {names}.", "They are named as in its table of contents.")] * (header.kind == "npz")
    program, why = pickles.Program(), "They were read out of it, and none was run."
    try:
        file.seek(0)
        program.read(file)
    except Exception:
        why = "It could not be followed to its end: it is cut, or joblib's, whose arrays lie between the instructions."
    return [Finding(f"It asks to import: {_listed(list(dict.fromkeys(program.names)))}.", why, level="bad")]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:MOST_NAMES]) or 'nothing'}{' and more' * (len(names) > MOST_NAMES)}"


def _permission(header: files.Header, file: BinaryIO, path: Path) -> Finding:
    """Whether it may be opened: what its pickle asks for."""
    try:
        programs = pickles.programs(header, file)
    except Exception as error:
        why = "A file whose pickle cannot be followed is not opened."
        return Finding(f"It is damaged or no checkpoint: {words_of(error)}.", why, level="bad")
    if refused := next(filter(None, map(pickles.refusal, programs)), None):
        return _refused(path, refused)
    count = len({name for program in programs for name in program.names})
    return Finding("It may be opened.", f"It asks for {count} names, all of which weights_only=True allows.")


def _refused(path: Path, refused: pickles.Refusal) -> Finding:
    what, asked = f"It {refused.words}", refused.names
    why = f"It asks for {_listed(asked)}." if asked else ""
    if refused.kind in ("numpy", "plain"):
        address = "argparse-namespace" if refused.kind == "plain" else "numpy-scalar"
        why += " Then examine(checkpoint, model) says what is in it."
        return explained(what, why, address, _allowing(path, asked))
    if refused.kind == "call":
        return Finding(what, why, f"import torch\n\ncheckpoint = {_LOAD.format(str(path), '')}", "", "likely", "bad")
    if not asked or not all(_OF_A_MODEL.fullmatch(name) and name.split(".")[0] not in _PYTHONS for name in asked):
        return explained(what, f"{why} No weights need that: leave it closed.", "blocked-module")
    if not any(name.startswith("torch.nn.") for name in asked):
        why += " A class of its maker's beside the weights, such as a config. Only if you made the file: run this where it is."
        return explained(
            what, f"{why} Then examine(checkpoint, model).", "argparse-namespace", _allowing(path, asked), "likely"
        )
    code = f"""import torch

whole = torch.load({str(path)!r}, map_location="cpu", weights_only=False)
if isinstance(whole, dict):
    whole = next(part for part in whole.values() if isinstance(part, torch.nn.Module))
state = whole.state_dict()
torch.save(state, "state.pth")"""
    why += " That is a whole model, saved as a program. Only if you made the file yourself: run this where its classes are."
    return explained(what, why, "whole-model-in-the-file", code, "likely")


def _allowing(path: Path, asked: Sequence[str]) -> str:
    modules, listed = {"torch"}, ""
    for name in asked:
        modules.add(name.rpartition(".")[0].replace("numpy.core", "numpy").split("._core")[0])
        now = name.replace("numpy.core", "numpy._core")
        listed += f"    {f'({now}, {name!r})' if now != name else now.removeprefix('builtins.')},\n"
    if any(module.startswith("numpy") for module in modules):
        listed += '    *[type(numpy.dtype(code)) for code in "?bhilqBHILQefdFD"],\n'
    imports = "\n".join(f"import {module}" for module in sorted(modules - {"builtins"}))
    loading = f"with torch.serialization.safe_globals(names):\n    checkpoint = {_LOAD.format(str(path), '')}"
    return f"{imports}\n\nnames = [\n{listed}]\n{loading}"


def _devices(header: files.Header, file: BinaryIO) -> tuple[str, ...]:
    """Where its tensors lay when they were saved, as the pickle says."""
    try:
        pickled = pickles.program_of(header, file)
    except Exception:
        return ()
    return tuple(sorted({name.decode() for new, old, name in _DEVICE.findall(pickled) if ord(new or old) == len(name)}))


def _head(kind: str, path: Path) -> str:
    if kind == "safetensors":
        return f"from safetensors.torch import load_file\n\ncheckpoint = load_file({str(path)!r})"
    if kind == "index":
        if ".safetensors" in path.name:
            return _SHARDS.format("from safetensors.torch import load_file", str(path), "load_file(index.with_name(name))")
        each = 'torch.load(index.with_name(name), map_location="cpu", mmap=True, weights_only=True)'
        return _SHARDS.format("import torch", str(path), each)
    if path.suffix == ".safetensors":
        return f"import torch\n\nwith open({str(path)!r}, 'rb') as file:\n    checkpoint = {_FROM_FILE}"
    return f"import torch\n\ncheckpoint = {_LOAD.format(str(path), ', mmap=True' * (kind == 'torch'))}"


def _read(header: files.Header, path: Path) -> Any:
    """The contents, mapped and not read. Of a large file from before torch 1.6, which cannot be mapped, shapes alone."""
    if header.kind == "old torch" and header.size > SMALL:
        return torch.load(path, map_location="meta", weights_only=True)
    if header.kind == "safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if header.kind == "index":
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
        if away := [name for name in names if Path(name).name != name or not path.with_name(name).is_file()]:
            raise ValueError(f"{len(away)} of its {len(names)} shards are not beside it, such as {away[0]!r}.")
        shards = [_read(files.read_header(path.with_name(name)), path.with_name(name)) for name in names]
        return {key: value for shard in shards for key, value in shard.items()}
    return read_file(path)
