"""What a checkpoint holds, as a digest of each storage's bytes and one of all the rest: its keys, shapes and plain values."""

from __future__ import annotations

import ctypes
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (type(None), bool, int, float, str, complex, torch.dtype)
DICTS, LISTS = (dict, OrderedDict, Counter), (list, tuple, torch.Size)
ATTRIBUTE, CHUNK, THREADS_PAY = "_seal", 1 << 20, 1 << 16
Told = Callable[[int], object]


class Held:
    """All that hangs on a dict, read once: its `size` in bytes, each storage counted once, and its digests. Of the dict itself
    a seal from before, the attribute `ATTRIBUTE`, is left out.

    Raises TypeError or ValueError, which name the key, for what `torch.load(weights_only=True)` would not give back.
    """

    def __init__(self, contents: Mapping[str, Any]) -> None:
        self.size, self._said, self._seen = 0, [], {}
        self._storages: dict[int, tuple[int, Tensor, list[str]]] = {}
        self._read(contents, "")

    def seal(self, said: Mapping[str, Any], told: Told) -> dict[str, Any]:
        """What is `said` of the file and the digests of it and of all that it holds; `told` hears of each byte read."""
        rest = hashlib.sha256()
        for piece in (said, *self._said):
            rest.update(f"{piece!r}\n".encode())
        tensors, digest = [tensor for _, tensor, _ in self._storages.values()], partial(_digest, told=told)
        if self.size < THREADS_PAY * len(tensors):
            return {**said, "rest": rest.hexdigest(), "storages": [*map(digest, tensors)]}
        with ThreadPoolExecutor() as pool:
            return {**said, "rest": rest.hexdigest(), "storages": [*pool.map(digest, tensors)]}

    def differs(self, sealed: Mapping[str, Any], told: Told) -> str | None:
        """What is not as it was when it was sealed, in words, or None."""
        found = self.seal({key: value for key, value in sealed.items() if key not in ("rest", "storages")}, told)
        if found["rest"] != sealed["rest"]:
            return "its keys, shapes or plain values"
        return next(
            (
                f"the numbers of {' and '.join(keys)}"
                for (_, _, keys), one, other in zip(self._storages.values(), found["storages"], sealed["storages"], strict=True)
                if one != other
            ),
            None,
        )

    def _read(self, value: Any, key: str) -> None:
        kind = type(value)
        if kind in PLAIN:
            self._said.append(value)
        elif isinstance(value, Tensor):
            self._tensor(value, key)
        elif kind is set and all(type(inner) in PLAIN for inner in value):
            self._said.append(("set", sorted(map(repr, value))))
        elif kind not in (*DICTS, *LISTS):
            cure = f"{type(value.item()).__name__}(value)" if hasattr(value, "item") else "its state dict, or plain values"
            raise TypeError(
                f"Got {kind.__module__}.{kind.__name__} at {key}; wanted tensors, numbers and strings in "
                f"dicts and lists. Save {cure}."
            )
        elif id(value) not in self._seen:
            number, self._seen[id(value)] = len(self._seen), None
            self._said.append((kind.__name__, len(value)))
            self._inside(value, key)
            self._seen[id(value)] = number
        elif self._seen[id(value)] is None:
            raise ValueError(f"Got a {kind.__name__} that contains itself at {key}; wanted a tree.")
        else:
            self._said.append(("again", self._seen[id(value)]))

    def _inside(self, value: Any, key: str) -> None:
        for k, inner in enumerate(value):
            if type(value) in LISTS:
                self._read(inner, f"{key}[{k}]")
            elif type(inner) not in PLAIN:
                raise TypeError(f"Got a key of type {type(inner).__name__} at {key or 'the top'}; wanted a string.")
            else:
                self._said.append(inner)
                self._read(value[inner], f"{key}.{inner}" if key else str(inner))
        beside = {name: inner for name, inner in getattr(value, "__dict__", {}).items() if key or name != ATTRIBUTE}
        if beside:
            self._said.append(("beside", len(beside)))
            self._inside(beside, f"{key}.__dict__")

    def _tensor(self, value: Tensor, key: str) -> None:
        kind = type(value)
        if kind not in (Tensor, nn.Parameter) or value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise TypeError(
                f"Got a {kind.__name__} ({value.layout}, {value.dtype}, {value.device}) at {key}; "
                "wanted a plain dense tensor with data. Save what it is made of."
            )
        if vars(value):
            raise TypeError(
                f"Got a {kind.__name__} with the attribute {next(iter(vars(value)))} at {key}; wanted none. "
                "Save its detach(), and the attribute as an entry of its own."
            )
        storage = value.untyped_storage()
        if storage.nbytes() % value.itemsize:
            raise ValueError(
                f"Got a view of {storage.nbytes()} bytes, no whole number of {value.dtype}, at {key}, which "
                "torch.load refuses. Save its clone()."
            )
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = len(self._storages), value, []
            self.size += storage.nbytes()
        number, _, keys = self._storages[storage._cdata]
        keys.append(key)
        self._said.append(
            (
                kind.__name__,
                value.dtype,
                tuple(value.shape),
                value.stride(),
                value.storage_offset(),
                value.requires_grad,
                value.is_conj(),
                value.is_neg(),
                number,
            )
        )


def _digest(tensor: Tensor, told: Told) -> str:
    """SHA-256 of the storage that a tensor looks into, read in place."""
    storage = tensor.untyped_storage() if tensor.is_cpu else tensor.untyped_storage().cpu()
    size, start = storage.nbytes(), storage.data_ptr()
    if 0 < size <= CHUNK:
        told(size)
        return hashlib.sha256((ctypes.c_char * size).from_address(start)).hexdigest()
    seen = hashlib.sha256()
    for at in range(0, size, CHUNK):
        piece = min(CHUNK, size - at)
        seen.update((ctypes.c_char * piece).from_address(start + at))
        told(piece)
    return seen.hexdigest()
