"""The key diff against what load_state_dict itself reports."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers.compare import compare, renames, same_storage

names = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3), max_size=6)


def holder(sizes):
    module = nn.Module()
    for name, size in sizes.items():
        module.register_parameter(name, nn.Parameter(torch.zeros(size)))
    return module


@given(names, names)
def test_the_diff_is_torchs_own_report(source, target):
    state, model = {name: torch.zeros(size) for name, size in source.items()}, holder(target)
    pairs = {pair.key: pair.word for pair in compare(state, model.state_dict(), values=False)}
    reshaped = {key for key, word in pairs.items() if word == "shape"}
    try:
        report = model.load_state_dict(state, strict=False)
        assert not reshaped
    except RuntimeError as error:
        assert set(re.findall(r"size mismatch for (\w+)", str(error))) == reshaped
        report = holder(target).load_state_dict({k: t for k, t in state.items() if k not in reshaped}, strict=False)
        report.missing_keys[:] = [key for key in report.missing_keys if key not in reshaped]
    assert {k for k, word in pairs.items() if word == "missing"} == set(report.missing_keys)
    assert {k for k, word in pairs.items() if word == "unexpected"} == set(report.unexpected_keys)


def test_values_dtypes_and_bits():
    one = {"a": torch.tensor([float("nan")]), "b": torch.zeros(1), "c": torch.zeros(1), "d": torch.ones(2)}
    other = {"a": torch.tensor([float("nan")]), "b": -torch.zeros(1), "c": torch.zeros(1).half(), "d": torch.ones(2)}
    assert [p.word for p in compare(one, other)] == ["equal", "value", "dtype", "equal"]


def test_odd_tensors_compare():
    odd = {
        "sparse": torch.eye(3).to_sparse(),
        "empty": torch.zeros(0),
        "meta": torch.empty(2, device="meta"),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "scalar": torch.tensor(1),
    }
    assert {p.word for p in compare(odd, odd)} == {"equal"}


def test_extra_state_compares_by_value():
    assert [p.word for p in compare({"_extra_state": 1}, {"_extra_state": 1})] == ["equal"]
    assert [p.word for p in compare({"_extra_state": 1}, {"_extra_state": 2})] == ["value"]


def test_not_a_state_dict():
    with pytest.raises(TypeError, match="Got a module, Linear"):
        compare(nn.Linear(1, 1), {})


def test_same_storage():
    base = torch.zeros(4)
    assert same_storage(base, base[2:]) and not same_storage(base, base.clone())
    assert not same_storage(torch.empty(1, device="meta"), torch.empty(1, device="meta"))


@given(
    st.lists(st.sampled_from(["enc.a.weight", "enc.b.weight", "head.bias", "head.weight"]), unique=True),
    st.sampled_from(["module.", "_orig_mod.", "net.model."]),
)
def test_a_prefix_is_found_for_every_key(keys, prefix):
    target = {key: torch.zeros(k + 1) for k, key in enumerate(keys)}
    found = renames({prefix + key: value for key, value in target.items()}, target)
    assert found == {key: prefix + key for key in target}
    pairs = compare({prefix + key: value for key, value in target.items()}, target, values=False, explain=True)
    assert [(p.key, p.source_key, p.relation) for p in pairs] == [(key, prefix + key, "rename") for key in target]


def test_a_rename_needs_one_shape_and_an_end_in_common():
    source, target = {"old.weight": torch.zeros(2), "x": torch.zeros(3)}, {"new.weight": torch.zeros(2), "y": torch.zeros(3)}
    assert renames(source, target) == {"new.weight": "old.weight"}
    assert renames({"old.weight": torch.zeros(2)}, {"new.weight": torch.zeros(4)}) == {}
    assert [p.word for p in compare(source, target, explain=True)] == ["renamed", "missing", "unexpected"]
