"""Real checkpoints to damage, and hostile ones: each pickle is written instruction by instruction, none is run here."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn, optim

from helpers import checkpoint, lesson


def contents(number: int) -> dict:
    """A trained model with its optimizer, scheduler and generators, one of several kinds."""
    torch.manual_seed(number)
    model = [lesson.build_model(number), nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))][number % 2]
    optimizer = [optim.SGD(model.parameters(), lr=0.01, momentum=0.9), optim.AdamW(model.parameters())][number // 2 % 2]
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3)
    for _ in range(number + 1):
        lesson.train_step(model, optimizer, *lesson.toy_data())
        scheduler.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "generator": torch.get_rng_state(),
        "step": number,
        "best": 0.25,
        "note": "a<b",
    }


def raw(tensor: torch.Tensor) -> bytes:
    """All bytes of the storage that a tensor looks into."""
    storage = tensor.detach().untyped_storage()
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy().tobytes()


def equal(one, other) -> bool:
    """Same types, keys, order and bits."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.stride() == other.stride()
            and type(one) is type(other)
            and raw(one) == raw(other)
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return repr(one) == repr(other)


def packed(path: Path, entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip like torch's over any entries."""
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as book:
        for name, data in entries.items():
            book.writestr(f"archive/{name}", data)
    return path


def honest(path: Path) -> dict[str, bytes]:
    """The entries of a file that `save` really wrote, without contents."""
    with zipfile.ZipFile(checkpoint.save(path, {})) as book:
        return {name.partition("/")[2]: book.read(name) for name in book.namelist()}


def _doubled(levels: int, wide: int = 2) -> bytes:
    """Tuples of `wide` times the tuple before, which take `levels` × `wide` × 2 bytes and unfold to `wide` ** `levels`."""
    return b")q\x00" + b"".join(b"(" + wide * (b"h" + bytes([k])) + b"tq" + bytes([k + 1]) for k in range(levels))


FLOAT = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    b"K\x00\x8a\x04\x00\x87\x93\x03\x85K\x00\x85\x89ccollections\nOrderedDict\n)RtR"
)
LONG = b"(" + 50_000 * b"K\x01" + b"tq\x01"


def _call(name: str, *arguments: str) -> bytes:
    pushed = b"".join(b"X" + struct.pack("<I", len(a.encode())) + a.encode() for a in arguments)
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + pushed + b"tR"


def pickles(marker: Path) -> dict[str, bytes]:
    """Programs that would make `marker`, import, or exhaust memory if anybody ran them."""
    touch, python = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    calls = {
        "os.system": _call("os system", touch),
        "posix.system": _call("posix system", touch),
        "subprocess.getoutput": _call("subprocess getoutput", touch),
        "builtins.eval": _call("builtins eval", python),
        "builtins.exec": _call("builtins exec", python),
        "__builtin__.eval": _call("__builtin__ eval", python),
        "builtins.open": _call("builtins open", str(marker), "w"),
        "io.open": _call("io open", str(marker), "w"),
        "os.mkdir": _call("os mkdir", str(marker)),
        "os.popen": _call("os popen", touch),
        "pathlib.Path": _call("pathlib Path", str(marker)),
        "pty.spawn": _call("pty spawn", touch),
        "runpy.run_path": _call("runpy run_path", str(marker)),
        "webbrowser.open": _call("webbrowser open", "x"),
        "torch.load": _call("torch load", str(marker)),
        "torch.hub.load": _call("torch.hub load", "x", "y"),
        "importlib.import_module": _call("importlib import_module", "this"),
        "code.interact": _call("code interact"),
        "builtins.getattr": _call("builtins getattr", "a", "b"),
        "operator.attrgetter": _call("operator attrgetter", "system"),
        "shutil.rmtree": _call("shutil rmtree", str(marker)),
        "codecs.encode": _call("_codecs encode", "a", "latin1"),
        "numpy scalar": _call("numpy._core.multiarray scalar", "a"),
        "a class of the stranger's": _call("__main__ Net"),
    }
    programs = {name: b"\x80\x02" + body + b"." for name, body in calls.items()}
    nested = b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00w" + calls["os.system"] + b"ss."
    hooks = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89" + calls["os.system"] + b"tR."
    )
    programs |= {
        "nested": nested,
        "in a tensor's metadata": hooks,
        "by name from the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        "an old instance": b"(X\x01\x00\x00\x00aios\nsystem\n.",
        "an extension": b"\x80\x02\x82\x01.",
        "bytearray bomb": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R.",
        "hex bomb": b"\x80\x02" + 40 * b"c_codecs\nencode\n(" + calls["codecs.encode"] + 40 * b"X\x03\x00\x00\x00hextR" + b".",
        "a tensor class": b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\x00\x00\x00\x00\x10\x85R.",
        "a tensor of another device": b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n)R.",
        "a storage of 2 TB": b"\x80\x02ctorch.storage\nUntypedStorage\n\x8a\x06\x00\x00\x00\x00\x00\x02\x85R.",
        "tuples of tuples as a key": b"\x80\x02}" + _doubled(60) + b"K\x01s.",
        "tuples of tuples in a set": b"\x80\x02cbuiltins\nset\n](" + _doubled(60) + b"e\x85R.",
        "tuples of tuples, wide": b"\x80\x02}" + _doubled(6, 1_000) + b"K\x01s.",
        "a tuple as deep as a well": b"\x80\x02})" + 200_000 * b"\x85" + b"K\x01s.",
        "a set of what a call made": b"\x80\x02cbuiltins\nset\n" + FLOAT + b"\x85R.",
        "a size of what a call made": b"\x80\x02ctorch\nSize\n" + FLOAT + b"\x85R.",
        "many sets of one list": b"\x80\x02](](" + 50_000 * b"K\x01" + b"eq\x01" + 400 * b"cbuiltins\nset\nh\x01\x85R" + b"e.",
        "many sizes of one tuple": b"\x80\x02](" + LONG + 400 * b"ctorch\nSize\nh\x01\x85R" + b"e.",
        "a long key again and again": b"\x80\x02}(" + LONG + b"K\x01" + 30_000 * b"h\x01K\x01" + b"u.",
        "scales per channel": b"\x80\x02ctorch\nper_channel_affine\n.",
        "a stack that is empty": b"\x80\x02\x86.",
        "a mark that is not there": b"\x80\x02t.",
        "a memo that is empty": b"\x80\x02h\x07.",
        "a sparse tensor": b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n)R.",
        "a subclass": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n)R.",
        "storage bomb": b"\x80\x02ctorch\nFloatStorage\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
        "a string that never ends": b"\x80\x02X\xff\xff\xff\x7fabc.",
        "a number that never ends": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "no end": b"\x80\x02}",
        "nothing": b"",
        "text": b"weights, honestly",
        "only an end": b".",
        "a storage that is larger than its entry": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x05\x00\x00\x00\x00\x10tQK\x00K\x04\x85K\x01\x85"
        b"\x89ccollections\nOrderedDict\n)RtR.",
        "a view beyond its storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
        b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00M\x10\x27\x85K\x01\x85\x89"
        b"ccollections\nOrderedDict\n)RtR.",
    }
    return programs


def hostile(folder: Path, marker: Path) -> dict[str, Path]:
    """Files, by what is wrong with them."""
    made = {}
    for k, (name, program) in enumerate(pickles(marker).items()):
        entries = {"data.pkl": program, "byteorder": b"little", "version": b"3\n", "data/0": bytes(16)}
        made[name] = packed(folder / f"hostile-{k}.pth", entries)
        made[f"{name}, by itself"] = folder / f"bare-{k}.pth"
        made[f"{name}, by itself"].write_bytes(program)
        made[f"{name}, before 1.6"] = folder / f"old-{k}.pth"
        made[f"{name}, before 1.6"].write_bytes(_old(program))
    inner = honest(folder / "honest.pth")
    made["a zip bomb"] = packed(folder / "bomb.pth", inner | {"data/0": bytes(500_000_000)}, compression=zipfile.ZIP_DEFLATED)
    made["a bomb as version"] = packed(
        folder / "version.pth", inner | {"version": bytes(500_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    program = {"data.pkl": b"\x80\x02}." + bytes(500_000_000), "version": b"3\n"}
    made["a bomb in the program"] = packed(folder / "long.pth", program, compression=zipfile.ZIP_DEFLATED)
    twice = packed(folder / "twice.pth", inner)
    with zipfile.ZipFile(twice, "a") as book, warnings.catch_warnings(action="ignore"):
        book.writestr("archive/data.pkl", pickles(marker)["os.system"])
    made["two entries of one name"] = twice
    for name in ("os.system", "hex bomb"):
        front = folder / f"front-{len(made)}.pth"
        front.write_bytes(_old(pickles(marker)[name]) + (folder / "honest.pth").read_bytes())
        made[f"{name} in front of an honest zip"] = front
    bad, good = pickles(marker)["hex bomb"], pickles(marker)["tuples of tuples as a key"]
    for name, program in (("a refused name", bad), ("tuples of tuples", good)):
        for first in (True, False):
            pair = [("dAtA.pKl", program), ("data.pkl", b"\x80\x02}.")]
            entries = dict(pair if first else pair[::-1]) | {"byteorder": b"little", "version": b"3\n"}
            made[f"{name} in another case, {first}"] = packed(folder / f"case-{len(made)}.pth", entries)
    made["two tables of contents"] = _two_tables(folder / "tables.pth", bad)
    os.mkfifo(folder / "fifo.pth")
    made["a FIFO"], made["a device"] = folder / "fifo.pth", folder / "zero.pth"
    made["a device"].symlink_to("/dev/zero")
    return made


def _two_tables(path: Path, program: bytes) -> Path:
    """A zip in whose comment lies a second table of contents, to which its end points."""
    tails = {"data.pkl": program, "byteorder": b"little", "version": b"3\n"}, {"data.pkl": b"\x80\x02}."}
    one, other = (packed(path, entries).read_bytes() for entries in tails)
    ends = one.rindex(b"PK\5\6"), other.rindex(b"PK\5\6")
    _, size, offset = struct.unpack("<HII", one[ends[0] + 10 : ends[0] + 20])
    end = other[ends[1] : ends[1] + 16] + struct.pack("<IH", ends[1] + 22, size)
    path.write_bytes(other[: ends[1]] + end + one[offset : offset + size])
    return path


def _old(program: bytes) -> bytes:
    """A file of the format before torch 1.6 around a program: magic number, protocol, system, program, keys."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join(parts) + program + pickle.dumps([], 2)


def in_a_child(work: Callable[[], object], megabytes: int = 2_000) -> int:
    """Runs `work` in a process of its own that may take that much memory on top; its exit status, 0 if all was well."""
    child = os.fork()
    if child == 0:
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
