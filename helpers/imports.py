"""What a pickle asks to import, read from its instructions without running one.

`weights_only=True` refuses most of it by itself; this list is shorter, and it is read before anything is unpickled.
"""
from __future__ import annotations

import pickletools
import struct

import torch

ALLOWED = {f"torch._utils {name}" for name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")} | {
    "collections OrderedDict", "collections Counter", "__builtin__ set", "__builtin__ complex", "builtins set",
    "builtins complex", "torch Size", "torch.storage UntypedStorage"} | {
    f"torch {name}" for name, value in vars(torch).items() if isinstance(value, torch.dtype) or name.endswith("Storage")}
GLOBAL, COUNTED = ord("c"), {ord("X"): struct.Struct("<I"), ord("U"): struct.Struct("<B"), 0x8A: struct.Struct("<B")}
IMPORTERS = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes if opcode.name in (
    "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")}
STEPS = [0] * 256
for _opcode in pickletools.opcodes:
    if _opcode.proto <= 2 and (_opcode.arg is None or _opcode.arg.n >= 0) and ord(_opcode.code) not in IMPORTERS:
        STEPS[ord(_opcode.code)] = 1 + (_opcode.arg.n if _opcode.arg else 0)


def refused(program: bytes) -> str | None:
    """The first import that a checkpoint of tensors never asks for, or None.

    The lengths of instructions are those of `pickletools.opcodes`, protocol 2, which `torch.save` writes.
    Raises ValueError or struct.error for bytes that are no such pickle.
    """
    at = 0
    while at < len(program):
        code = program[at]
        if STEPS[code]:
            at += STEPS[code]
        elif code in COUNTED:
            at += 1 + COUNTED[code].size + COUNTED[code].unpack_from(program, at + 1)[0]
        elif code == GLOBAL:
            start, at = at + 1, program.index(b"\n", program.index(b"\n", at) + 1) + 1
            name = program[start:at - 1].decode().replace("\n", " ")
            if name not in ALLOWED:
                return name.replace(" ", ".")
        elif code in IMPORTERS:
            return IMPORTERS[code]
        else:
            raise ValueError(f"its pickle has the instruction {code}, which torch does not write")
    return None
