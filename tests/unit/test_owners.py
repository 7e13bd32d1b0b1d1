"""All owners or none, for real: every optimizer of torch and one of one's own, schedulers, a scaler, generators, any dtype."""

from __future__ import annotations

import copy
import inspect
import math
import threading

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook

from corpus import equal
from helpers import checkpoint, owners
from helpers.checkpoint import CheckpointError


class Signs(optim.Optimizer):
    """An optimizer of one's own, whose class wants an argument."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["seen"] = state.get("seen", torch.zeros_like(parameter)) + parameter.grad.sign()
                parameter.data -= group["lr"] * state["seen"]


CLASSES = [
    kind for kind in vars(optim).values()
    if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
] + [Signs]  # fmt: skip


ADAMS_KIN = (optim.AdamW, optim.RAdam, optim.NAdam)  # their state is Adam's, and Adam goes on with it


def build(kind=optim.SGD, dtype=torch.float32, seed=0, **options):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 3, bias=kind is not optim.Muon), nn.Linear(3, 1, bias=False)).to(dtype)
    options = {"momentum": 0.9} if kind is optim.SGD else {"lr": 0.1} if kind is Signs else options
    return model, kind(model.parameters(), **options)


def step(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(1, 2, dtype=next(model.parameters()).dtype)).sum()
        loss.backward()
        if isinstance(optimizer, optim.SparseAdam):
            for parameter in model.parameters():
                parameter.grad = parameter.grad.to_sparse()
        return loss

    if isinstance(optimizer, optim.LBFGS):
        return optimizer.step(closure)
    closure()
    return optimizer.step()


def snapshot(*things):
    return copy.deepcopy([thing.get_state() if isinstance(thing, torch.Generator) else thing.state_dict() for thing in things])


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_optimizer_comes_back_and_is_put_back(tmp_path, kind):
    model, optimizer = build(kind)
    step(model, optimizer), step(model, optimizer)
    path = checkpoint.save(tmp_path / "run.pth", {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    saved = snapshot(model, optimizer)
    other, second = build(kind, seed=1)
    checkpoint.load(path, {"model": other, "optimizer": second})
    assert equal(snapshot(other, second), saved)
    step(model, optimizer), step(other, second)
    assert equal(snapshot(other, second), snapshot(model, optimizer))
    before = snapshot(other, second)
    with pytest.raises(CheckpointError, match="wanted scheduler too. Nothing was loaded."):
        checkpoint.load(path, {"model": other, "optimizer": second, "scheduler": object()})
    with pytest.raises(CheckpointError, match="again does not fit"):
        checkpoint.load(with_part(path, "again", {}), {"model": other, "optimizer": second, "again": nn.Linear(1, 1)})
    assert equal(snapshot(other, second), before)
    step(model, optimizer), step(other, second)
    assert equal(snapshot(other, second), snapshot(model, optimizer))


def with_part(path, name, part):
    return checkpoint.save(path, {**checkpoint.load(path), name: part})


@pytest.mark.parametrize("saved", CLASSES, ids=lambda kind: kind.__name__)
def test_the_state_of_another_kind_is_refused_in_one_sentence(tmp_path, saved):
    model, optimizer = build(saved)
    step(model, optimizer)
    path = checkpoint.save(tmp_path / "run.pth", {"optimizer": optimizer.state_dict()})
    for kind in (optim.SGD, optim.Adam, optim.Adamax, optim.Adagrad, optim.RMSprop, optim.LBFGS):
        if kind is saved or (kind is optim.Adam and saved in ADAMS_KIN):
            continue
        other, second = build(kind)
        step(other, second)
        if len(second.param_groups[0]["params"]) != len(optimizer.param_groups[0]["params"]):
            continue
        before = snapshot(other, second)
        with pytest.raises(
            CheckpointError, match="^optimizer does not fit: [^.]*another kind of optimizer[^.]*. Nothing was loaded.$"
        ):
            checkpoint.load(path, {"optimizer": second})
        assert equal(snapshot(other, second), before)


def test_bfloat16_stays_float32_state_and_all(tmp_path):
    """Loading casts float32 state to the parameters' dtype, so the old state can not come back through load_state_dict."""
    model, optimizer = build(optim.Adam, torch.bfloat16)
    step(model, optimizer)
    for state in optimizer.state.values():
        state["exp_avg"] = state["exp_avg"].float()
    path = checkpoint.save(tmp_path / "run.pth", {"optimizer": optimizer.state_dict(), "model": nn.Linear(9, 9).state_dict()})
    before, dtypes = snapshot(model, optimizer), [state["exp_avg"].dtype for state in optimizer.state.values()]
    with pytest.raises(CheckpointError, match="^model does not fit: .* Nothing was loaded.$"):
        checkpoint.load(path, {"optimizer": optimizer, "model": model})
    assert equal(snapshot(model, optimizer), before) and set(dtypes) == {torch.float32}
    assert [state["exp_avg"].dtype for state in optimizer.state.values()] == dtypes


class Decay:
    """A rule that is an object: LambdaLR saves what it remembers."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, Decay(0.5)),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=10),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[2]),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.filterwarnings("ignore")
def test_schedulers_come_back_are_put_back_and_are_told_apart(tmp_path, name):
    model, optimizer = build()
    scheduler = SCHEDULERS[name](optimizer)
    arguments = [1.0] if name == "ReduceLROnPlateau" else []
    step(model, optimizer), scheduler.step(*arguments)
    saved = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    path = checkpoint.save(tmp_path / "run.pth", saved)
    _, fresh = build()
    other = SCHEDULERS[name](fresh)
    checkpoint.load(path, {"optimizer": fresh, "scheduler": other})
    assert str(other.state_dict()) == str(scheduler.state_dict())
    step(model, optimizer), scheduler.step(*arguments)
    before, held = str(scheduler.state_dict()), set(vars(scheduler))
    for crossed in ({"optimizer": saved["scheduler"]}, {"scheduler": saved["optimizer"]}, {"again": {}}):
        into = {"scheduler": scheduler, "optimizer": optimizer, "again": nn.Linear(1, 1)}
        with pytest.raises(CheckpointError, match=f"^{next(iter(crossed))} does not fit: .*[^.]. Nothing was loaded.$"):
            checkpoint.load(with_part(path, *next(iter(crossed.items()))), {key: into[key] for key in ("scheduler", *crossed)})
        path = checkpoint.save(path, saved)
    assert str(scheduler.state_dict()) == before and set(vars(scheduler)) == held
    step(model, optimizer), scheduler.step(*arguments)
    assert math.isfinite(optimizer.param_groups[0]["lr"])


def test_a_scheduler_of_another_kind(tmp_path):
    _, optimizer = build()
    path = checkpoint.save(tmp_path / "run.pth", {"scheduler": lr_scheduler.StepLR(optimizer, 3).state_dict()})
    cosine = lr_scheduler.CosineAnnealingLR(optimizer, 10)
    with pytest.raises(
        CheckpointError, match="scheduler does not fit: it was saved by another kind of scheduler, without T_max"
    ):
        checkpoint.load(path, {"scheduler": cosine})
    assert not hasattr(cosine, "step_size")


def test_a_scaler_generators_and_an_owner_of_ones_own(tmp_path):
    scaler, generator = torch.amp.GradScaler("cpu", init_scale=4.0), torch.Generator().manual_seed(3)
    stored = {"scaler": scaler.state_dict(), "mine": generator.get_state(), "torch": torch.default_generator.get_state()}
    path = checkpoint.save(tmp_path / "run.pth", stored)
    one = (torch.rand(1).item(), torch.rand(1, generator=generator).item())
    into = {"scaler": torch.amp.GradScaler("cpu"), "mine": generator, "torch": torch.default_generator}
    checkpoint.load(path, into)
    assert into["scaler"].get_scale() == 4.0
    assert (torch.rand(1).item(), torch.rand(1, generator=generator).item()) == one
    before = snapshot(*into.values())
    for spoilt in ({"scaler": {}}, {"scaler": {"momentum": 1}}, {"torch": torch.zeros(3)}):
        with pytest.raises(CheckpointError, match=f"^{next(iter(spoilt))} does not fit"):
            checkpoint.load(with_part(path, *next(iter(spoilt.items()))), into)
        assert equal(snapshot(*into.values()), before)
        path = checkpoint.save(path, stored)


class Counted(nn.Linear):
    """A module with extra state, and a buffer that is in no state dict."""

    def __init__(self):
        super().__init__(2, 2)
        self.seen = 0
        self.register_buffer("cache", torch.zeros(2), persistent=False)

    def get_extra_state(self):
        return {"seen": self.seen}

    def set_extra_state(self, state):
        self.seen = state["seen"]
        self.cache += 1


def test_extra_state_and_buffers_that_are_not_saved(tmp_path):
    model, path = Counted(), tmp_path / "run.pth"
    checkpoint.save(path, {"model": {**Counted().state_dict(), "_extra_state": {"seen": 7}}, "head": {}})
    with pytest.raises(CheckpointError, match="head does not fit"):
        checkpoint.load(path, {"model": model, "head": nn.Linear(1, 1)})
    assert model.seen == 0
    checkpoint.load(path, {"model": model})
    assert model.seen == 7


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_room_is_refused(tmp_path):
    path = checkpoint.save(tmp_path / "run.pth", {"model": nn.Linear(2, 2).state_dict()})
    with pytest.raises(CheckpointError, match="model does not fit: it lies on the meta device and would stay empty"):
        checkpoint.load(path, {"model": nn.Linear(2, 2, device="meta")})
    lazy = nn.LazyLinear(2)
    with pytest.raises(CheckpointError, match="model does not fit: it has lazy parameters"):
        checkpoint.load(path, {"model": lazy})
    assert isinstance(lazy.weight, nn.parameter.UninitializedParameter)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_control_c_stays_control_c_and_nothing_was_loaded(tmp_path, monkeypatch, name, when):
    model, optimizer = build()
    step(model, optimizer)
    path = checkpoint.save(tmp_path / "run.pth", {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    step(model, optimizer)
    before, owner = snapshot(model, optimizer), {"model": model, "optimizer": optimizer}[name]
    real = owner.load_state_dict

    def interrupt(state):
        if when == "after":
            real(state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, "load_state_dict", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.load(path, {"model": model, "optimizer": optimizer})
    assert equal(snapshot(model, optimizer), before)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda c: c.pop("optimizer"), "wanted optimizer too. Nothing was loaded."),
        (lambda c: c["model"].pop("0.bias"), "model does not fit: .*Missing key.*Nothing was loaded."),
        (lambda c: c["model"].update({"0.bias": torch.ones(7)}), "model does not fit: .*size mismatch for 0.bias"),
        (lambda c: c.update(model=3), "model does not fit: Expected state_dict to be dict-like"),
        (lambda c: c["optimizer"]["param_groups"][0]["params"].pop(), "optimizer does not fit: .*match the size"),
        (lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.ones(7)), r"momentum_buffer has the shape \(7,\)"),
        (lambda c: c["optimizer"]["param_groups"].append({"params": [3], "lr": 1}), "different number of parameter groups"),
    ],
)
def test_all_parts_or_none(tmp_path, spoil, words):
    mine = dict(zip(("model", "optimizer"), build(), strict=True))
    step(*mine.values())
    spoilt = copy.deepcopy({name: owner.state_dict() for name, owner in mine.items()})
    for value in spoilt["model"].values():
        value.add_(1)
    spoil(spoilt)
    before = snapshot(*mine.values())
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(checkpoint.save(tmp_path / "run.pth", spoilt), mine)
    assert equal(snapshot(*mine.values()), before)


def test_a_list_is_no_checkpoint_for_owners():
    with pytest.raises(ValueError, match="Got a checkpoint of list; wanted model too."):
        owners.restore([1], {"model": nn.Linear(1, 1)})


class Average:
    """An owner of one's own, empty until it is first asked to follow a model."""

    def __init__(self):
        self.shadow = None

    def state_dict(self):
        return {} if self.shadow is None else {"shadow": self.shadow}

    def load_state_dict(self, state):
        self.shadow = state["shadow"]


class Growing(nn.Linear):
    """A module that takes whatever shape is in the file."""

    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("mask", torch.ones(1).expand(4), persistent=False)

    def _load_from_state_dict(self, state, prefix, *rest):
        self.weight = nn.Parameter(state[f"{prefix}weight"].clone())
        super()._load_from_state_dict(state, prefix, *rest)


@pytest.mark.filterwarnings("ignore")
def test_what_is_replaced_is_put_back_whatever_it_is(tmp_path):
    model, average, growing, lock = nn.Linear(2, 2), Average(), Growing(), threading.Lock()
    quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear})
    other = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear})
    optimizer = optim.Adam(model.parameters())
    optimizer.model, optimizer.lock = model, lock
    contents = {
        "average": {"shadow": torch.ones(2)},
        "growing": {"weight": torch.ones(5, 2), "bias": torch.ones(2)},
        "quantised": other.state_dict(),
        "optimizer": optimizer.state_dict(),
        "bad": {},
    }
    into = {"average": average, "growing": growing, "quantised": quantised, "optimizer": optimizer, "bad": model}
    weight, answer = growing.weight, quantised(torch.ones(1, 2))
    with pytest.raises(ValueError, match="^bad does not fit: .*Missing key"):
        owners.restore(contents, into)
    assert average.shadow is None and growing.weight is weight and growing.weight.shape == (2, 2)
    assert torch.equal(quantised(torch.ones(1, 2)), answer) and optimizer.model is model and optimizer.lock is lock
    owners.restore({**contents, "bad": model.state_dict()}, into)
    assert (
        growing.weight.shape == (5, 2)
        and average.shadow is contents["average"]["shadow"]
        or torch.equal(average.shadow, torch.ones(2))
    )


def test_states_of_an_older_torch_fit(tmp_path):
    _, optimizer = build()
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    older = {name: value for name, value in plateau.state_dict().items() if name != "default_min_lr"} | {
        "verbose": False,
        "best": 3.0,
    }
    owners.restore({"scheduler": older}, {"scheduler": plateau})
    assert plateau.best == 3.0


def test_loading_calls_no_hook_of_the_users():
    model, optimizer = build(optim.Adam)
    step(model, optimizer)
    called = []
    hook = register_optimizer_step_post_hook(lambda *arguments: called.append(1))
    try:
        owners.restore({"optimizer": optimizer.state_dict()}, {"optimizer": build(optim.Adam)[1]})
    finally:
        hook.remove()
    assert not called


def test_a_model_in_place_of_a_dict_of_owners():
    with pytest.raises(ValueError, match="Got Linear to load into; wanted a dict such as {'model': model}."):
        owners.restore({}, nn.Linear(1, 1))
