"""The key diff against what load_state_dict itself reports."""

import copy
import re
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import helpers.mapping
from helpers.compare import compare, same_storage

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
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "scalar": torch.tensor(1),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "negative": torch.tensor([1 + 2j]).conj().imag,
    }
    assert {p.word for p in compare(odd, odd)} == {"equal"}


def test_what_cannot_be_read_is_never_called_equal():
    freed = torch.ones(4)
    freed.untyped_storage().resize_(0)
    unread = {"meta": torch.empty(2, device="meta"), "freed": freed, "lazy": nn.LazyLinear(2).weight}
    assert [(p.relation, p.word) for p in compare(unread, unread)] == [
        ("differs", "meta, no data"),
        ("differs", "its storage was freed"),
        ("differs", "no shape yet"),
    ]
    assert {p.word for p in compare(unread, unread, values=False)} == {"fits"}


def test_the_values_of_quantised_tensors_are_compared_not_only_their_integers():
    one = torch.quantize_per_tensor(torch.tensor([1.0]), 0.1, 0, torch.qint8)
    other = torch.quantize_per_tensor(torch.tensor([2.0]), 0.2, 0, torch.qint8)
    assert torch.equal(one.int_repr(), other.int_repr())
    assert [p.word for p in compare({"w": one}, {"w": other})] == ["value"]


def test_a_sparse_tensor_is_compared_without_being_unfolded():
    huge = torch.sparse_coo_tensor([[0], [5]], [1.0], (10**7, 10**7))
    assert [p.word for p in compare({"w": huge}, {"w": huge.clone()})] == ["equal"]
    assert [p.word for p in compare({"w": huge}, {"w": huge * 2})] == ["value"]


def test_extra_state_compares_by_value():
    assert [p.word for p in compare({"_extra_state": 1}, {"_extra_state": 1})] == ["equal"]
    assert [p.word for p in compare({"_extra_state": 1}, {"_extra_state": 2})] == ["value"]
    one, other = {"_extra_state": {"a": [torch.ones(2)]}}, {"_extra_state": {"a": [torch.zeros(2)]}}
    assert [compare(one, state)[0].word for state in (copy.deepcopy(one), other)] == ["equal", "value"]
    strange = type("Strange", (), {})
    assert compare({"_extra_state": strange()}, {"_extra_state": strange()})[0].word == "Strange: cannot be compared"


def test_not_a_state_dict():
    with pytest.raises(TypeError, match="Got a module, Linear"):
        compare(nn.Linear(1, 1), {})


def test_same_storage():
    base = torch.zeros(4)
    assert same_storage(base, base[2:]) and not same_storage(base, base.clone())
    assert not same_storage(torch.empty(1, device="meta"), torch.empty(1, device="meta"))


def sized(keys):
    """A state dict of meta tensors: for each key its size, or the size 2."""
    sizes = keys if isinstance(keys, dict) else dict.fromkeys(keys, 2)
    return {key: torch.empty(size, device="meta") for key, size in sizes.items()}


def explained(source, target):
    """What the mapping says of each target key: its name in the source, all its candidates, or None."""
    pairs = compare(sized(source), sized(target), values=False, explain=True)
    return {
        pair.key: pair.candidates or pair.source_key or (pair.key if pair.relation == "same" else None)
        for pair in pairs
        if pair.target is not None
    }


@given(
    st.lists(st.sampled_from(["enc.a.weight", "enc.b.weight", "head.bias", "head.weight"]), unique=True, min_size=1),
    st.sampled_from(["module.", "_orig_mod.", "net.model."]),
)
def test_a_prefix_is_found_for_every_key_on_either_side(keys, prefix):
    bare, wrapped = {key: k + 1 for k, key in enumerate(keys)}, {prefix + key: k + 1 for k, key in enumerate(keys)}
    assert explained(wrapped, bare) == {key: prefix + key for key in keys}
    assert explained(bare, wrapped) == {prefix + key: key for key in keys}
    pairs = compare(sized(wrapped), sized(bare), values=False, explain=True)
    assert [(p.key, p.source_key, p.relation, p.word) for p in pairs] == [(k, prefix + k, "rename", "renamed") for k in keys]


EXPLAINED = {
    "a level": (["old.weight"], ["new.weight"], {"new.weight": "old.weight"}),
    "a level in every block": (
        ["0.attn.w", "1.attn.w", "0.mlp.w"],
        ["0.attention.w", "1.attention.w", "0.mlp.w"],
        {"0.attention.w": "0.attn.w", "1.attention.w": "1.attn.w", "0.mlp.w": "0.mlp.w"},
    ),
    "a wrapper inside": (
        ["net.0._orig_mod.w", "net.1._orig_mod.w", "head.w"],
        ["net.0.w", "net.1.w", "head.w"],
        {"net.0.w": "net.0._orig_mod.w", "net.1.w": "net.1._orig_mod.w", "head.w": "head.w"},
    ),
    "a layer inserted": (
        {"0.w": 2, "2.w": 3, "4.w": 4},
        {"0.w": 2, "3.w": 3, "5.w": 4},
        {"0.w": "0.w", "3.w": "2.w", "5.w": "4.w"},
    ),
    "a layer removed": (
        {"0.w": 2, "1.w": 3, "2.w": 4, "3.w": 5},
        {"0.w": 2, "1.w": 4, "2.w": 5},
        {"0.w": "0.w", "1.w": "2.w", "2.w": "3.w"},
    ),
    "the first of two equal layers is lacking": (["1.w"], ["0.w", "1.w"], {"0.w": None, "1.w": "1.w"}),
    "the same behind a wrapper": (["module.1.w"], ["0.w", "1.w"], {"0.w": None, "1.w": "module.1.w"}),
    "another shape": ({"old.w": 2}, {"new.w": 3}, {"new.w": None}),
    "one name at every level, twice in each path": (
        ["t.a.w", "t.0.0.a.w", "t.0.0.b.w", "t.0.0.0.w"],
        ["t.a.w", "t.x.x.a.w", "t.x.x.b.w", "t.x.x.x.w"],
        {"t.a.w": "t.a.w", "t.x.x.a.w": "t.0.0.a.w", "t.x.x.b.w": "t.0.0.b.w", "t.x.x.x.w": "t.0.0.0.w"},
    ),
    "another last name": (["layer.weight"], ["layer.kernel"], {"layer.kernel": None}),
    "one key of many": (
        {"a.w": 2, "b.w": 3, "c.w": 4, "d.w": 5},
        {"e.w": 2, "f.w": 6, "g.w": 7, "h.w": 8},
        dict.fromkeys(["e.w", "f.w", "g.w", "h.w"]),
    ),
}
AMBIGUOUS = {
    "by order alone": (["k_proj.w", "v_proj.w", "q_proj.w"], ["query.w", "key.w", "value.w"]),
    "beside what is known": (["a.k.w", "a.v.w", "a.q.w", "a.o.w"], ["a.query.w", "a.key.w", "a.value.w", "a.o.w"]),
    "shifted or the first moved to the end": (["0.w", "1.w", "2.w"], ["1.w", "2.w", "3.w"]),
    "crossed names": (["dec.w", "enc.w"], ["encoder.w", "decoder.w"]),
    "two renames, told apart by shape alone": ({"dec.w": 2, "enc.w": 3}, {"encoder.w": 3, "decoder.w": 2}),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_one_mapping_explains_the_most(name):
    source, target, right = EXPLAINED[name]
    assert explained(source, target) == right


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_several_mappings_explain_is_ambiguous(name):
    source, target = AMBIGUOUS[name]
    known = set(source) & set(target) if name == "beside what is known" else set()
    pairs = compare(sized(source), sized(target), values=False, explain=True)
    assert {pair.key for pair in pairs if pair.relation != "ambiguous"} == known
    for pair in pairs:
        assert pair.word == ("fits" if pair.key in known else "ambiguous")
        assert set(pair.candidates) <= set(source) - known and list(pair.candidates) == [
            k for k in source if k in pair.candidates
        ]
        assert bool(pair.candidates) == (pair.key not in known)


def test_nothing_is_explained_unless_asked():
    assert [p.word for p in compare({"a.w": torch.ones(1)}, {"b.w": torch.ones(1)})] == ["missing", "unexpected"]


paths = st.recursive(
    st.dictionaries(st.sampled_from(["weight", "bias"]), st.integers(1, 3), min_size=1),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "enc", "net", "0", "1", "2", "3"]), inner, min_size=1, max_size=4),
    max_leaves=12,
).map(lambda tree: {("top", *path): size for path, size in flat(tree)})


def flat(tree, path=()):
    """(path, size) of each leaf of a tree of dicts."""
    for name, inner in tree.items():
        yield from flat(inner, (*path, name)) if isinstance(inner, dict) else [((*path, name), inner)]


def modules(names):
    return sorted({path[:k] for path in names for k in range(1, len(path))})


@st.composite
def rewritten(draw, names):
    """Each path, and what it is called after one rewrite of module paths that keeps all modules apart."""
    kind = draw(st.sampled_from(["strip", "add", "wrap", "level", "everywhere", "shift"]))
    module, new = draw(st.sampled_from(modules(names))), draw(st.sampled_from(["x", "y", "7"]))
    start, name = module[:-1], module[-1]
    if kind == "strip":
        return {path: path[1:] for path in names}
    if kind == "add":
        return {path: ("module", *path) for path in names}
    if kind == "wrap":
        return {path: (*module, new, *path[len(module) :]) if path[: len(module)] == module else path for path in names}
    if kind == "level":
        return {path: (*start, new, *path[len(module) :]) if path[: len(module)] == module else path for path in names}
    if kind == "everywhere":
        return {path: (*(new if part == name else part for part in path[:-1]), path[-1]) for path in names}
    by = draw(st.integers(1, 2))

    def shifted(path):
        beyond = path[: len(start)] == start and len(path) > len(module) and path[len(start)].isdecimal()
        if not name.isdecimal() or not beyond or int(path[len(start)]) < int(name):
            return path
        return (*start, str(int(path[len(start)]) + by), *path[len(module) :])

    return {path: shifted(path) for path in names}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_random_mapping_is_found_or_called_ambiguous_and_never_another(data):
    sizes = data.draw(paths)
    names = data.draw(rewritten(list(sizes)))
    wrapped = data.draw(st.sampled_from([(), ("module",)]))
    assume(len(modules(names.values())) >= len(modules(names)) - 1 and len(set(names.values())) == len(names))
    truth = {".".join(path): ".".join((*wrapped, *name)) for path, name in names.items()}
    if data.draw(st.booleans()):
        truth = {new: old for old, new in truth.items()}
    by_target = {".".join(path): size for path, size in sizes.items()}
    sizes = {key: by_target.get(key) or by_target[truth[key]] for key in truth}
    assume(set(truth) != set(truth.values()))
    source = {truth[key]: sizes[key] for key in data.draw(st.permutations(list(truth)))}
    for key, found in explained(source, sizes).items():
        assert found == truth[key] or (isinstance(found, tuple) and truth[key] in found), (key, found, truth)


def test_five_thousand_keys_cost_a_bounded_number_of_steps(monkeypatch):
    steps = Counter()

    def counted(name):
        plain = getattr(helpers.mapping, name)

        def step(*arguments):
            steps[name] += 1
            return plain(*arguments)

        monkeypatch.setattr(helpers.mapping, name, step)

    counted("_moved")
    counted("_reasons")
    old, new = [f"{k}.weight" for k in range(5_000)], [f"module.layers.{k + 1}.weight" for k in range(5_000)]
    assert len(compare(sized(old), sized(new), values=False, explain=True)) == 5_000
    assert 0 < steps["_reasons"] <= 100_000 and 0 < steps["_moved"] <= 300_000
