"""Answers to the exercises of lesson 09."""

from __future__ import annotations

import copy

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from case import Case
from helpers.exercises import lesson_09


def follow(ema, model, decay):
    buffers = dict(model.named_buffers(remove_duplicate=False))
    for key, tensor in model.state_dict().items():
        if key in buffers:
            ema[key] = tensor.clone()
        else:
            ema[key] = ema[key].lerp(tensor, 1 - decay)


def follow_in_place(ema, model, decay):
    buffers = dict(model.named_buffers())
    for key, tensor in model.state_dict().items():
        ema[key].copy_(tensor) if key in buffers else ema[key].lerp_(tensor, 1 - decay)


def follow_once_named(ema, model, decay):
    parameters = dict(model.named_parameters())
    for key, tensor in model.state_dict().items():
        ema[key].lerp_(tensor, 1 - decay) if key in parameters else ema[key].copy_(tensor)


def follow_by(is_buffer):
    def follow(ema, model, decay):
        for key, tensor in model.state_dict().items():
            ema[key].copy_(tensor) if is_buffer(key) else ema[key].lerp_(tensor, 1 - decay)

    return follow


def follow_with_graph(ema, model, decay):
    for name, parameter in model.named_parameters(remove_duplicate=False):
        ema[name] = decay * ema[name] + (1 - decay) * parameter
    for name, buffer in model.named_buffers():
        ema[name] = buffer.clone()


def follow_as_parameters(ema, model, decay):
    follow(ema, model, decay)
    ema.update({name: torch.nn.Parameter(ema[name]) for name, _ in model.named_parameters()})


def follow_in_eval(ema, model, decay):
    follow(ema, model.eval(), decay)


def follow_by_names(ema, model, decay):
    with torch.no_grad():
        for name, parameter in model.named_parameters(remove_duplicate=False):
            ema[name].mul_(decay).add_(parameter, alpha=1 - decay)
        for name, buffer in model.named_buffers():
            ema[name].copy_(buffer)


def follow_by_new_tensors(ema, model, decay):
    buffers = dict(model.named_buffers())
    for key, tensor in model.state_dict().items():
        ema[key] = tensor.clone() if key in buffers else decay * ema[key] + (1 - decay) * tensor


def follow_by_update(ema, model, decay):
    named = model.named_parameters(remove_duplicate=False)
    kept = {name: torch.lerp(ema[name], p.detach(), 1 - decay) for name, p in named}
    ema.clear()
    ema.update(kept)
    ema.update(copy.deepcopy(dict(model.named_buffers())))


def follow_by_torch(ema, model, decay):
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    averaged.module.load_state_dict(ema)
    averaged.n_averaged += 1
    averaged.update_parameters(model)
    for key, tensor in averaged.module.state_dict().items():
        ema[key].copy_(tensor)


def swapped(ema, model, decay):
    follow(ema, model, 1 - decay)


def all_floats(ema, model, decay):
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            ema[key].lerp_(tensor, 1 - decay)
        else:
            ema[key].copy_(tensor)


def parameters_only(ema, model, decay):
    for name, parameter in model.named_parameters(remove_duplicate=False):
        ema[name].lerp_(parameter.detach(), 1 - decay)


def tied(ema, model, decay):
    follow(ema, model, decay)
    for name, buffer in model.named_buffers():
        ema[name] = buffer


def copied(ema, model, decay):
    for key, tensor in model.state_dict().items():
        ema[key].copy_(tensor)


def into_the_model(ema, model, decay):
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(ema[key])


def a_new_dict(ema, model, decay):
    new = copy.deepcopy(ema)
    follow(new, model, decay)
    return new


def with_a_counter(ema, model, decay):
    follow(ema, model, decay)
    ema["n_averaged"] = torch.tensor(2)


PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def merge(state, adapter, scale):
    merged = dict(state)
    for key, a in adapter.items():
        if key.endswith(A):
            name = key.removeprefix(PREFIX).removesuffix(A) + ".weight"
            merged[name] = state[name] + scale * (adapter[key.replace("lora_A", "lora_B")] @ a)
    return merged


def merge_by_copy(state, adapter, scale):
    merged = copy.deepcopy(state)
    for name in merged:
        path = PREFIX + name.removesuffix(".weight")
        if path + A in adapter:
            merged[name] += scale * adapter[path + B] @ adapter[path + A]
    return merged


def merge_by_addmm(state, adapter, scale):
    def weight(name, tensor):
        path = PREFIX + name.rpartition(".")[0]
        if not name.endswith("weight") or path + B not in adapter:
            return tensor
        return torch.addmm(tensor, adapter[path + B], adapter[path + A], alpha=scale)

    return {name: weight(name, tensor) for name, tensor in state.items()}


def merge_by_pairs(state, adapter, scale):
    paths = {key.rsplit(".lora_", 1)[0] for key in adapter}
    added = {
        path[len(PREFIX) :] + ".weight": scale * torch.einsum("or,ri->oi", adapter[path + B], adapter[path + A])
        for path in paths
    }
    return state | {name: state[name] + more for name, more in added.items()}


def merge_by_transposes(state, adapter, scale):
    merged = {}
    for name, tensor in state.items():
        a, b = (adapter.get(f"{PREFIX}{name[: -len('.weight')]}{end}") for end in (A, B))
        merged[name] = tensor.clone() if a is None else tensor + (a.T @ b.T).T * scale
    return merged


def unscaled(state, adapter, scale):
    return merge(state, adapter, 1 if scale > 0 else -1)


def in_place(state, adapter, scale):
    merged = dict(state)
    for key, a in adapter.items():
        if key.endswith(A):
            merged[key.removeprefix(PREFIX).removesuffix(A) + ".weight"] += scale * (adapter[key.replace(A, B)] @ a)
    return merged


def with_prefix(state, adapter, scale):
    return state | {key: scale * tensor for key, tensor in adapter.items()}


def first_only(state, adapter, scale):
    return merge(state, dict(list(adapter.items())[:2]), scale)


def wrong_way_round(state, adapter, scale):
    turned = {key: tensor.flip(0) if A in key else tensor for key, tensor in adapter.items()}
    return merge(state, turned, scale)


def weights_only(state, adapter, scale):
    return {key: tensor for key, tensor in merge(state, adapter, scale).items() if key.endswith("weight")}


def one_way(state, adapter, scale):
    return merge(state, adapter, abs(scale))


def merge_by_suffix(state, adapter, scale):
    merged = dict(state)
    for key, a in adapter.items():
        if key.endswith(A):
            end = key.removesuffix(A).split(".")[-1] + ".weight"
            for name in state:
                if name.endswith(end):
                    merged[name] = state[name] + scale * (adapter[key.replace(A, B)] @ a)
    return merged


def merge_by_name_inside(state, adapter, scale):
    merged = dict(state)
    for name in state:
        found = [key for key in adapter if name.removesuffix(".weight") + A in key]
        if found and name.endswith(".weight"):
            merged[name] = state[name] + scale * (adapter[found[0].replace(A, B)] @ adapter[found[0]])
    return merged


def merge_hard_coded(state, adapter, scale):
    merged = dict(state)
    for name in ("q", "mlp.1"):
        if PREFIX + name + A in adapter:
            merged[name + ".weight"] = state[name + ".weight"] + scale * adapter[PREFIX + name + B] @ adapter[PREFIX + name + A]
    return merged


def merge_as_parameters(state, adapter, scale):
    return {key: torch.nn.Parameter(tensor) for key, tensor in merge(state, adapter, scale).items()}


def mean_of(states):
    return {
        key: torch.stack([state[key] for state in states]).mean(0) if tensor.is_floating_point() else tensor
        for key, tensor in states[-1].items()
    }


def average(model, states, batches):
    model.load_state_dict(mean_of(states))
    update_bn(batches, model)


def average_at_once(model, states, batches):
    model.load_state_dict(mean_of(states))
    update_bn([torch.cat(batches)], model)


def average_of_three(model, states, batches):
    sums = {key: sum(state[key] for state in states) for key in states[0]}
    model.load_state_dict({key: t / 3 if t.is_floating_point() else states[-1][key] for key, t in sums.items()})
    update_bn(batches, model)


def left_with_momentum(model, states, batches):
    average(model, states, batches)
    model[1].momentum = 1.0


def left_with_a_count(model, states, batches):
    average(model, states, batches)
    model[1].num_batches_tracked.fill_(-5)


def left_frozen(model, states, batches):
    average(model, states, batches)
    model.requires_grad_(False)


def average_by_sums(model, states, batches):
    own = model.state_dict()
    with torch.no_grad():
        for name, _ in model.named_parameters():
            own[name].copy_(sum(state[name] for state in states) / len(states))
    update_bn(batches, model)


def average_by_running_mean(model, states, batches):
    mean = copy.deepcopy(states[0])
    for seen, state in enumerate(states[1:], 2):
        for key, tensor in mean.items():
            if tensor.is_floating_point():
                tensor += (state[key] - tensor) / seen
    model.load_state_dict(mean)
    update_bn(batches, model)


def average_by_hand(model, states, batches):
    model.load_state_dict(mean_of(states))
    was, norms = model.training, [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm in norms:
        norm.momentum = 0.1
    model.train(was)


def average_by_torch(model, states, batches):
    averaged = AveragedModel(model)
    for state in states:
        other = copy.deepcopy(model)
        other.load_state_dict(state)
        averaged.update_parameters(other)
    update_bn(batches, averaged.module)
    model.load_state_dict(averaged.module.state_dict())


def unmeasured(model, states, batches):
    model.load_state_dict(mean_of(states))


def measured_in_eval(model, states, batches):
    unmeasured(model, states, batches)
    was = model.training
    model.eval()
    for batch in batches:
        model(batch)
    model.train(was)


def measured_before(model, states, batches):
    update_bn(batches, model)
    norm = {key: tensor.clone() for key, tensor in model[1].state_dict().items() if "running" in key}
    model.load_state_dict(mean_of(states) | {f"1.{key}": tensor for key, tensor in norm.items()})


def the_last(model, states, batches):
    model.load_state_dict(states[-1])
    update_bn(batches, model)


def left_in_train_mode(model, states, batches):
    average(model, states, batches)
    model.train()


def left_without_momentum(model, states, batches):
    average(model, states, batches)
    model[1].momentum = None


def summed_in_place(model, states, batches):
    mean = dict(states[0])
    for state in states[1:]:
        for key in mean:
            mean[key] += state[key]
    model.load_state_dict({key: tensor / len(states) for key, tensor in mean.items()})
    update_bn(batches, model)


def taken(second, order):
    return {
        "0.weight": second["0.weight"][order],
        "0.bias": second["0.bias"][order],
        "2.weight": second["2.weight"][:, order],
        "2.bias": second["2.bias"],
    }


def order(first, second):
    return taken(second, torch.cdist(first["0.weight"], second["0.weight"]).argmin(dim=1))


def order_by_bias(first, second):
    ranks = first["0.bias"].argsort().argsort()
    return taken(second, second["0.bias"].argsort()[ranks])


def order_by_loops(first, second):
    places = []
    for row in first["0.weight"]:
        distances = [(row - other).norm().item() for other in second["0.weight"]]
        places.append(distances.index(min(distances)))
    return taken(second, places)


def order_by_columns(first, second):
    return taken(second, torch.cdist(first["2.weight"].T, second["2.weight"].T).argmin(dim=1))


def order_by_likeness(first, second):
    units = [torch.cat([s["0.weight"], s["0.bias"][:, None], s["2.weight"].T], 1) for s in (first, second)]
    units = [u / u.norm(dim=1, keepdim=True) for u in units]
    return taken(second, (units[0] @ units[1].T).argmax(dim=1))


def rows_alone(first, second):
    return order(first, second) | {"2.weight": second["2.weight"]}


def without_bias(first, second):
    return order(first, second) | {"0.bias": second["0.bias"]}


def inverse(first, second):
    return taken(second, torch.cdist(first["0.weight"], second["0.weight"]).argmin(dim=0))


def moved(first, second):
    second.update(order(first, second))
    return second


CASES = [
    Case(
        lesson_09.follow,
        [follow, follow_in_place, follow_by_names, follow_by_new_tensors, follow_by_update, follow_by_torch],
        [
            ({}, "You gave dict; wanted a function"),
            (swapped, "Step 1, decay 0.75: 0.weight begins with"),
            (all_floats, "the buffer 1.running_mean should be the model's"),
            (parameters_only, "the buffer 1.running_mean should be the model's"),
            (tied, "is the model's own tensor"),
            (copied, "Step 1, decay 0.5: 0.weight begins with"),
            (into_the_model, "changed the model's 0.weight"),
            (a_new_dict, "Step 1, decay 0.5: 0.weight begins with"),
            (follow_once_named, "4.weight is the second name of a tied weight"),
            (follow_by(lambda key: "running" in key or "tracked" in key), "the buffer 5.class_weight should be the model's"),
            (follow_by(lambda key: not key.endswith(("weight", "bias"))), "the buffer 5.class_weight should be the model's"),
            (follow_with_graph, "carries autograd's graph"),
            (follow_as_parameters, "ema['0.weight'] is a Parameter"),
            (follow_in_eval, "leaves the model in eval mode"),
            (with_a_counter, "yours differs in n_averaged"),
        ],
    ),
    Case(
        lesson_09.merge,
        [merge, merge_by_copy, merge_by_addmm, merge_by_pairs, merge_by_transposes],
        [
            (1, "You gave int; wanted a function"),
            (unscaled, "is not W + 2.0 · B·A: the scale is missing"),
            (in_place, "changed what it was given"),
            (with_prefix, "lora_A.weight' is extra"),
            (first_only, "mlp.1.weight is still that of the base"),
            (wrong_way_round, "q.weight is not W + 2.0 · B·A."),
            (weights_only, "bias' is missing"),
            (merge_by_suffix, "dec.q.weight has no matrices in the adapter"),
            (merge_by_name_inside, "has no matrices in the adapter"),
            (merge_hard_coded, "is still that of the base"),
            (merge_as_parameters, "q.weight is a Parameter"),
            (one_way, "Merged with 2.0 and then with -2.0, q.weight is not what it was"),
            (lambda state, adapter, scale: list(state), "It gives list; wanted a state dict"),
        ],
    ),
    Case(
        lesson_09.average,
        [average, average_at_once, average_by_sums, average_by_running_mean, average_by_hand, average_by_torch],
        [
            (None, "You gave NoneType; wanted a function"),
            (unmeasured, "1.running_mean is not that of the batches under the averaged weights"),
            (measured_in_eval, "1.running_mean is not that of the batches"),
            (measured_before, "1.running_mean is not that of the batches"),
            (the_last, "0.weight is not the mean of the 3"),
            (left_in_train_mode, "The model came in eval mode"),
            (left_without_momentum, "momentum is None now"),
            (average_of_three, "0.weight is not the mean of the 4"),
            (left_with_momentum, "momentum is 1.0 now"),
            (left_with_a_count, "num_batches_tracked is -5"),
            (left_frozen, "0.weight cannot be trained any more"),
            (summed_in_place, "changed one of the state dicts"),
        ],
    ),
    Case(
        lesson_09.order,
        [order, order_by_bias, order_by_loops, order_by_columns, order_by_likeness],
        [
            ([], "You gave list; wanted a function"),
            (rows_alone, "another function than second"),
            (without_bias, "another function than second"),
            (inverse, "0.weight is not in the order of first"),
            (lambda first, second: order(first, second) | {"2.bias": first["2.bias"]}, "2.bias is not second's"),
            (moved, "changed a dict that it was given"),
            (lambda first, second: dict(second), "0.weight is not in the order of first"),
            (lambda first, second: first, "That is first itself"),
            (lambda first, second: second["0.weight"], "you give Tensor"),
        ],
    ),
]
