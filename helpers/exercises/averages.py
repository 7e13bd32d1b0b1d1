"""Models to be followed, merged, averaged and put in order, for lesson 09. Numbers are quarters where sums must be exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from helpers.exercises.states import difference
from helpers.exercises.trial import quarters

State = dict[str, Tensor]


def net() -> nn.Sequential:
    """Layers with BatchNorm between, a tied weight and a buffer that is named as a weight; its numbers are quarters."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1))
    model[4].weight = model[3].weight
    model[5].register_buffer("class_weight", torch.ones(2))
    moved(model)
    return model


def moved(model: nn.Module) -> None:
    """A step to other quarters, in parameters and buffers, and one batch more."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.add_(1) if name.endswith("tracked") else tensor.copy_(quarters(*tensor.shape))


def unlike_torchs(ema: Any, torchs: AveragedModel, model: State, decay: float, step: int) -> str | None:
    """What in the dict is not what torch's AveragedModel has."""
    wanted, once = torchs.module.state_dict(), dict(torchs.module.named_parameters())
    parameters = dict(torchs.module.named_parameters(remove_duplicate=False))
    if odd := set(ema) ^ set(wanted):
        return f"The EMA should keep the keys of the model; yours differs in {min(odd)}."
    for key in wanted:
        if isinstance(ema[key], nn.Parameter):
            return f"ema[{key!r}] is a Parameter; an EMA has plain tensors, which no optimizer moves."
        if isinstance(ema[key], Tensor) and ema[key].requires_grad:
            return f"ema[{key!r}] carries autograd's graph: detach() the parameter, or use torch.no_grad()."
        if difference({key: wanted[key]}, {key: ema[key]}) is None:
            continue
        if key not in parameters:
            where = f"Step {step}, decay {decay}: the buffer {key} should be the model's"
            return f"{where}, {_first(model[key])}; yours is {_first(ema[key])}."
        if key not in once:
            return f"Step {step}, decay {decay}: {key} is the second name of a tied weight, and moves as it does by its first."
        return f"Step {step}, decay {decay}: {key} begins with {_first(ema[key])}; torch's with {_first(wanted[key])}."
    return None


def _first(tensor: Any) -> str:
    return f"{tensor.flatten()[0]}" if isinstance(tensor, Tensor) else type(tensor).__name__


def adapted(scale: float, names: tuple[str, str]) -> tuple[State, State, State]:
    """A base, an adapter for these two of its four weights, and what the merged state is."""
    mlp, dec = nn.ModuleDict({"1": nn.Linear(3, 5), "11": nn.Linear(3, 5)}), nn.ModuleDict({"q": nn.Linear(4, 3)})
    model = nn.ModuleDict({"q": nn.Linear(4, 3), "dec": dec, "mlp": mlp})
    state = {key: quarters(*value.shape) for key, value in model.state_dict().items()}
    adapter: State = {}
    wanted = dict(state)
    for name in names:
        rows, columns = state[f"{name}.weight"].shape
        a, b = quarters(2, columns), quarters(rows, 2)
        adapter |= {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
        wanted[f"{name}.weight"] = state[f"{name}.weight"] + scale * b @ a
    return state, adapter, wanted


def not_merged(given: Any, wanted: State, base: State, scale: float) -> str | None:
    """What in a merged dict is not as it should be."""
    if not isinstance(given, Mapping):
        return f"It gives {type(given).__name__}; wanted a state dict."
    if odd := set(given) ^ set(wanted):
        said = "extra" if odd <= set(given) else "missing"
        return f"The merged dict should have the keys of the base; {min(odd)!r} is {said}."
    for key in wanted:
        if isinstance(given[key], nn.Parameter):
            return f"{key} is a Parameter; a state dict has plain tensors."
        if difference(wanted[key], given[key], "it") is not None:
            if difference(wanted[key], base[key], "it") is None:
                return f"{key} has no matrices in the adapter, and is not that of the base."
            unscaled = base[key] + (wanted[key] - base[key]) / scale
            if difference(base[key], given[key], "it") is None:
                return f"{key} is still that of the base: the adapter has matrices for it."
            hint = ": the scale is missing" if difference(unscaled, given[key], "it") is None else ""
            return f"{key} is not W + {scale} · B·A{hint}."
    return None


def runs(count: int) -> tuple[nn.Sequential, list[State], list[Tensor]]:
    """A BatchNorm model, so many state dicts of it far apart, and batches of inputs."""
    states = []
    for _ in range(count):
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
        for _ in range(int(torch.randint(2, 9, ()))):
            model(torch.randn(8, 2) * 3)
        states.append({key: value.clone() for key, value in model.state_dict().items()})
    return model, states, [torch.randn(16, 2) + k for k in range(3)]


def mean(states: list[State]) -> State:
    """The mean of what is a float; of what is not, the last."""
    columns = {key: [state[key] for state in states] for key in states[0]}
    return {key: torch.stack(all_).mean(0) if all_[0].is_floating_point() else all_[-1] for key, all_ in columns.items()}


def not_the_average(model: nn.Module, wanted: nn.Module, training: bool, count: int) -> str | None:
    """Where a model is not the average, measured anew, in the mode that it had."""
    state, parameters = model.state_dict(), dict(model.named_parameters())
    for key, value in wanted.state_dict().items():
        if value.is_floating_point() and not torch.allclose(value, state[key], rtol=1e-4, atol=1e-5):
            numbers = f"begins with {state[key].flatten()[0]:.3f}; wanted {value.flatten()[0]:.3f}"
            if key in parameters:
                return f"{key} is not the mean of the {count}: it {numbers}."
            return f"{key} is not that of the batches under the averaged weights: it {numbers}."
    if any(module.training != training for module in model.modules()):
        return f"The model came in {'train' if training else 'eval'} mode, and should be in it again."
    if (momentum := model[1].momentum) != 0.1:  # type: ignore[index]
        return f"BatchNorm's momentum is {momentum} now; it was 0.1 before."
    if (tracked := int(state["1.num_batches_tracked"])) < 0:
        return f"1.num_batches_tracked is {tracked}; it counts batches."
    if odd := [name for name, parameter in parameters.items() if not parameter.requires_grad]:
        return f"{odd[0]} cannot be trained any more: its requires_grad is False."
    return None


def shuffled(width: int) -> tuple[State, State, Tensor]:
    """A model, another that is nearly it with its hidden units in another order, and inputs to compare them on."""
    first = {"0.weight": torch.randn(width, 3) * 3, "0.bias": torch.randn(width)}
    first |= {"2.weight": torch.randn(2, width), "2.bias": torch.randn(2)}
    order = torch.randperm(width)
    while torch.equal(order, order.argsort()):
        order = torch.randperm(width)
    near = {key: value + torch.randn_like(value) / 1000 for key, value in first.items()}
    second = near | {key: near[key][order] for key in ("0.weight", "0.bias")} | {"2.weight": near["2.weight"][:, order]}
    return first, second, torch.randn(20, 3)


def outputs(state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """What Linear, ReLU, Linear give."""
    hidden = torch.relu(inputs @ state["0.weight"].T + state["0.bias"])
    return hidden @ state["2.weight"].T + state["2.bias"]


def out_of_order(given: Any, first: State, second: State, inputs: Tensor) -> str | None:
    """What is wrong with a state dict that should be `second` with its units in the order of `first`."""
    if not isinstance(given, Mapping) or set(given) != set(first):
        return f"Wanted a state dict with the keys {', '.join(first)}; you give {type(given).__name__}."
    if any(given[key].shape != first[key].shape for key in first):
        return "The shapes of your dict are not those of the model."
    if torch.equal(given["0.weight"], first["0.weight"]):
        return "That is first itself; wanted second, put in order."
    if not torch.allclose(outputs(given, inputs), outputs(second, inputs), rtol=1e-3, atol=1e-3):
        return "Your dict is another function than second: rows of 0.weight, 0.bias and columns of 2.weight move together."
    if not torch.equal(given["2.bias"], second["2.bias"]):
        return "2.bias is not second's: it belongs to no hidden unit, so it stays."
    for key in first:
        if not torch.allclose(given[key], first[key], atol=0.02):
            row = f"{given[key].flatten()[0]:+.2f}, and in first {first[key].flatten()[0]:+.2f}"
            return f"{key} is not in the order of first: it begins with {row}."
    return None
