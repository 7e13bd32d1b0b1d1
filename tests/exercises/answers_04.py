"""Answers to the exercises of lesson 04."""

from __future__ import annotations

import copy
import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import torch
from torch import nn, optim

from case import Case
from helpers import lesson
from helpers.exercises import lesson_04


def build():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    return model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def save(path, model, optimizer):
    torch.save({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()}, path)


def load(path, model, optimizer):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def round_trip(model, optimizer, path):
    save(path, model, optimizer)
    pair = build()
    load(path, *pair)
    return pair


def as_a_list(model, optimizer, path):
    with open(path, "wb") as file:
        torch.save([model.state_dict(), optimizer.state_dict()], file)
    other = lesson.build_model()
    other_optimizer = optim.SGD(other.parameters())
    for owner, state in zip((other, other_optimizer), torch.load(str(path), weights_only=True)):
        owner.load_state_dict(state)
    return [other, other_optimizer]


def with_copies_built(model, optimizer, path):
    save(path, model, optimizer)
    other = copy.deepcopy(model)
    other_optimizer = type(optimizer)(other.parameters())
    load(path, other, other_optimizer)
    return other, other_optimizer


def atomic_and_proved(model, optimizer, path):
    part = path.with_suffix(".part")
    save(part, model, optimizer)
    os.replace(part, path)
    pair = build()
    load(path, *pair)
    for key, tensor in model.state_dict().items():
        assert torch.equal(pair[0].state_dict()[key], tensor)
    return pair


def flat(model, optimizer, path):
    buffers = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
    rest = {"lr": optimizer.param_groups[0]["lr"], "momentum": optimizer.param_groups[0]["momentum"]}
    torch.save({**model.state_dict(), "buffers": buffers, **rest}, path)
    saved = torch.load(path, mmap=True, weights_only=True)
    other = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    other.load_state_dict({key: saved[key] for key in other.state_dict()})
    other_optimizer = optim.SGD(other.parameters(), lr=saved["lr"], momentum=saved["momentum"])
    for parameter, buffer in zip(other.parameters(), saved["buffers"]):
        other_optimizer.state[parameter]["momentum_buffer"] = buffer.clone()
    return other, other_optimizer


def assigned(model, optimizer, path):
    file = io.BytesIO()
    save(file, model, optimizer)
    path.write_bytes(file.getvalue())
    saved = torch.load(path, weights_only=True)
    other = lesson.build_model()
    other.load_state_dict(saved["model_state"], assign=True)
    other_optimizer = optim.SGD(other.parameters(), lr=0.01, momentum=0.9)
    other_optimizer.load_state_dict(saved["optimizer_state"])
    return other, other_optimizer


def touched(model, optimizer, path):
    path.touch()
    return copy.deepcopy((model, optimizer))


def copied(model, optimizer, path):
    save(path, model, optimizer)
    return copy.deepcopy((model, optimizer))


def filled_from_memory(model, optimizer, path):
    save(path, model, optimizer)
    other, other_optimizer = build()
    other.load_state_dict(model.state_dict())
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return other, other_optimizer


def half_from_memory(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    pair[1].load_state_dict(optimizer.state_dict())
    return pair


def whole(model, optimizer, path):
    torch.save((model, optimizer), path)
    return torch.load(path, weights_only=False)


def pickled(model, optimizer, path):
    path.write_bytes(pickle.dumps((model, optimizer)))
    return pickle.loads(path.read_bytes())


def two_files(model, optimizer, path):
    beside = path.with_name("optimizer.pth")
    torch.save(optimizer.state_dict(), beside)
    save(path, model, optimizer)
    pair = build()
    load(path, *pair)
    return pair


def model_saved(model, optimizer, path):
    torch.save(model.state_dict(), path)
    return build()


def only_the_model(model, optimizer, path):
    save(path, model, optimizer)
    other, other_optimizer = build()
    other.load_state_dict(torch.load(path, weights_only=True)["model_state"])
    return other, other_optimizer


def only_the_optimizer(model, optimizer, path):
    save(path, model, optimizer)
    other, other_optimizer = build()
    other_optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer_state"])
    return other, other_optimizer


def another_optimizer(model, optimizer, path):
    other, _ = round_trip(model, optimizer, path)
    return other, round_trip(model, optimizer, path)[1]


def another_lr(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    pair[1].param_groups[0]["lr"] = 0.01
    return pair


def as_double(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    pair[0].double()
    return pair


def without_momentum(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    pair[1].param_groups[0]["momentum"] = 0.9
    return pair


def the_same_back(model, optimizer, path):
    save(path, model, optimizer)
    return model, optimizer


def shared(model, optimizer, path):
    save(path, model, optimizer)
    other = nn.Sequential(*model)
    other_optimizer = optim.SGD(other.parameters(), lr=0.01, momentum=0.9)
    load(path, other, other_optimizer)
    return other, other_optimizer


def trained_on(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    lesson.train_step(model, optimizer, *lesson.toy_data())
    return pair


def saved_only(model, optimizer, path):
    save(path, model, optimizer)


ROUND_TRIP = Case(
    lesson_04.round_trip,
    [round_trip, as_a_list, with_copies_built, atomic_and_proved, flat, assigned],
    [
        (lambda model, optimizer, path: build(), "no file at the path"),
        (touched, "does not load with weights_only=True"),
        (whole, "does not load with weights_only=True"),
        (pickled, "does not load with weights_only=True"),
        (two_files, "leave 'optimizer.pth' beside it"),
        (model_saved, "does not hold the optimizer's buffers"),
        (lambda model, optimizer, path: torch.save(optimizer.state_dict(), path), "does not hold the model's numbers"),
        (copied, "The new model was filled from memory"),
        (filled_from_memory, "The new model was filled from memory"),
        (half_from_memory, "The new optimizer was filled from memory"),
        (only_the_model, "no momentum buffers"),
        (only_the_optimizer, "was load_state_dict called on it"),
        (another_optimizer, "does not hold the parameters"),
        (as_double, "another dtype"),
        (another_lr, "The learning rate was 0.02; the new optimizer has 0.01"),
        (without_momentum, "the run that never stopped has"),
        (the_same_back, "the model that you were given"),
        (shared, "share a parameter"),
        (trained_on, "changed the model that it was given"),
        (saved_only, "you return NoneType"),
        (lambda *given: round_trip(*given)[::-1], "you return (SGD, Sequential)"),
        (3, "You gave int"),
    ],
)


def shrink(checkpoint):
    return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in checkpoint.items()}


def shrink_in_place(checkpoint):
    for name, value in checkpoint.items():
        if torch.is_tensor(value):
            checkpoint[name] = value.detach().clone()
    return checkpoint


def shrink_by_try(checkpoint):
    small = OrderedDict()
    for name, value in checkpoint.items():
        try:
            small[name] = value.clone()
        except AttributeError:
            small[name] = value
    return small


def change(change):
    return lambda checkpoint: {k: change(v) if isinstance(v, torch.Tensor) else v for k, v in checkpoint.items()}


SHRINK = Case(
    lesson_04.shrink,
    [
        shrink,
        shrink_in_place,
        shrink_by_try,
        change(lambda tensor: torch.tensor(tensor.tolist(), dtype=tensor.dtype)),
        change(lambda tensor: torch.from_numpy(tensor.numpy().copy())),
        change(lambda tensor: torch.empty_like(tensor).copy_(tensor)),
        change(lambda tensor: tensor + 0),
    ],
    [
        (lambda checkpoint: checkpoint, "The file still takes 2,8"),
        (copy.deepcopy, "took its whole storage along"),
        (change(lambda tensor: tensor.contiguous()), "took its whole storage along"),
        (lambda checkpoint: {k: v.clone() for k, v in checkpoint.items() if torch.is_tensor(v)}, "epoch is missing"),
        (lambda checkpoint: {"first": checkpoint["first"].clone()}, "last is missing"),
        (lambda checkpoint: {**shrink(checkpoint), "small": True}, "'small' is a new one"),
        (change(lambda tensor: tensor.half()), "yours is torch.float16"),
        (change(lambda tensor: tensor.double()), "yours is torch.float64"),
        (change(lambda tensor: tensor.int()), "yours is torch.int32"),
        (change(lambda tensor: nn.Parameter(tensor.clone(), False)), "yours is of type Parameter"),
        (change(lambda tensor: tensor.tolist()), "yours is of type list"),
        (change(lambda tensor: tensor.numpy().copy()), "keep every tensor a tensor"),
        (change(lambda tensor: tensor[:10].clone()), "no longer what it was"),
        (change(lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype)), "no longer what it was"),
        (lambda checkpoint: shrink(checkpoint) | {"epoch": 4}, "epoch is no longer what it was"),
        (lambda checkpoint: {k: v.clone() for k, v in checkpoint.items()}, "failed when it was tried: AttributeError"),
        (lambda checkpoint: print(end=""), "you return NoneType"),
        ({}, "You gave dict"),
    ],
)

CASTING = Case(
    lesson_04.casting,
    [
        (torch.float32, False),
        [torch.float, torch.tensor(False)],
        ("float32", np.False_),
        ("torch.float32", torch.tensor([False])),
        (np.dtype("float32"), np.array(False)),
        (np.float32, False),
        (torch.zeros(1).type(), False),
    ],
    [
        ((torch.float64, True), "The model keeps its own"),
        (("double", False), "The model keeps its own"),
        ((torch.float32, True), "another number than 0.1 in float32"),
        ((torch.float16, False), "Not float16"),
        ((None, False), "Not None"),
        ((torch.float32, "no"), "The second is True or False"),
        ((False, torch.float32), "The dtype comes first"),
        (torch.float32, "Wanted two things"),
        ({"dtype": torch.float32, "equal": False}, "Wanted two things"),
    ],
)


def resume(path):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model, optimizer = build()
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])
    return model, optimizer, checkpoint["epoch"] + 1


def resume_as_mended(path):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])
    return [model, optimizer, checkpoint["epoch"] + 1]


def resume_optimizer_first(path):
    with open(path, "rb") as file:
        model_state, optimizer_state, epoch = torch.load(file, weights_only=True).values()
    model = nn.Sequential(OrderedDict([("0", nn.Linear(2, 2)), ("1", nn.ReLU()), ("2", nn.Linear(2, 1))]))
    optimizer = optim.SGD(model.parameters())
    optimizer.load_state_dict(optimizer_state)
    model.load_state_dict(model_state)
    return model, optimizer, torch.tensor(epoch + 1)


def resume_assigned(path):
    checkpoint = torch.load(path, weights_only=True, mmap=True)
    with torch.device("meta"):
        model, _ = build()
    model.load_state_dict(checkpoint["model_state"], assign=True)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    optimizer.load_state_dict(checkpoint["optimizer_state"])
    return model, optimizer, np.int64(checkpoint["epoch"]) + 1


def resume_checked(path):
    checkpoint = torch.load(path)
    model, optimizer = build()
    found = model.load_state_dict(checkpoint["model_state"], strict=False)
    if found.missing_keys or found.unexpected_keys:
        raise ValueError(found)
    optimizer.load_state_dict(checkpoint["optimizer_state"])
    return model, optimizer, 1 + checkpoint["epoch"]


def resume_otherwise(own=True, state=True, epoch=lambda epoch: epoch + 1, weights=True, assign=False, **options):
    def answer(path):
        checkpoint = torch.load(path, **{"weights_only": True, **options.get("load", {})})
        model, optimizer = build()
        if not own:
            model, _ = build()
        if weights:
            model.load_state_dict(checkpoint["model_state"], assign=assign, strict=options.get("strict", True))
        if state:
            optimizer.load_state_dict(checkpoint["optimizer_state"])
        return model, optimizer, epoch(checkpoint["epoch"])

    return answer


def other_rate(path):
    model, optimizer, epoch = resume(path)
    optimizer.param_groups[0]["lr"] = 0.01
    return model, optimizer, epoch


def empty_buffers(path):
    model, optimizer, epoch = resume(path)
    for entry in optimizer.state.values():
        entry["momentum_buffer"].zero_()
    return model, optimizer, epoch


def resume_or_nothing(path):
    try:
        return resume(path)
    except RuntimeError:
        return None


REPAIR = Case(
    lesson_04.repair,
    [resume, resume_as_mended, resume_optimizer_first, resume_assigned, resume_checked],
    [
        (resume_otherwise(own=False), "does not hold the parameters"),
        (resume_otherwise(assign=True), "does not hold the parameters"),
        (resume_otherwise(state=False), "has no momentum buffers"),
        (resume_otherwise(weights=False), "other numbers than the file"),
        (resume_otherwise(epoch=lambda epoch: epoch), "the next one is 11, you say 10"),
        (resume_otherwise(epoch=lambda epoch: epoch + 2), "the next one is 11, you say 12"),
        (resume_otherwise(epoch=lambda epoch: 11), "you say 11"),
        (resume_otherwise(strict=False), "load strictly"),
        (resume_otherwise(load={"weights_only": False}), "holds code was run"),
        (other_rate, "The learning rate was 0.02"),
        (empty_buffers, "the run that never stopped has"),
        (lambda path: (*resume(path)[:2], "11"), "you say '11'"),
        (resume_or_nothing, "raises nothing"),
        (lambda path: resume(path)[:2], "you return (Sequential, SGD)"),
        (lambda path: resume(path)[::-1], "you return (int, SGD, Sequential)"),
        (lambda path: torch.load(path, weights_only=True), "you return dict"),
        (11, "You gave int"),
    ],
)

CASES = [ROUND_TRIP, SHRINK, CASTING, REPAIR]
