"""What the lessons record, against torch itself."""

import torch
from torch import nn, optim

from helpers import lesson, scenes
from helpers.scenes import models, training


def test_the_model_is_the_one_that_the_lessons_write_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    assert str(model) == str(lesson.build_model())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), lesson.build_model().parameters()))


def test_recorded_buffers_are_the_running_sum_and_what_sgd_has():
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    moments = lesson.train(model, optimizer, 30)
    assert len(moments) == 31 and moments[0].gradients == moments[0].buffers == [None] * 4
    for before, after in zip(moments, moments[1:]):
        for k in range(4):
            old = before.buffers[k]
            expected = after.gradients[k] if old is None else 0.9 * old + after.gradients[k]
            assert torch.equal(after.buffers[k], expected)
            assert torch.equal(after.parameters[k], torch.add(before.parameters[k], after.buffers[k], alpha=-0.01))
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], b) for p, b in zip(model.parameters(), moments[-1].buffers))


def test_the_window_moves_and_the_photograph_stands():
    moments = training.window_and_photograph(5)
    assert all(torch.equal(a, b) for a, b in zip(moments[0][0], moments[5][1]))
    assert not torch.equal(moments[0][0][0], moments[5][0][0])


def test_only_a_full_resume_is_the_same_run():
    gaps = {}
    for model in (True, False):
        for optimizer in (True, False):
            whole, resumed = scenes.resume(model, optimizer)
            gaps[model, optimizer] = max(abs(a - b) for a, b in zip(whole, resumed))
    assert gaps.pop((True, True)) == 0
    assert min(gaps.values()) > 0.01


def test_the_point_rolls_as_sgd_would():
    path = scenes.rolled(0.1, 0.0, steps=3)
    x, y = path[0]
    for visited in path[1:]:
        x, y = x - 0.1 * 0.5 * x, y - 0.1 * 5.0 * y
        assert abs(visited[0] - x) < 1e-5 and abs(visited[1] - y) < 1e-5


def test_data_and_attaching_do_not_disturb_each_other():
    assert torch.equal(lesson.toy_data()[0], lesson.toy_data()[0])
    assert set(scenes.ATTACH) == {how for how in scenes.ATTACH if models.attached(how)}


def test_two_layers_has_the_shapes_asked_for():
    model = models._two_layers(3, 4, 2, bias=False)
    assert [tuple(p.shape) for p in model.parameters()] == [(4, 3), (2, 4)]
