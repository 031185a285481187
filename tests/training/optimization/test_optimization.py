import math

import pytest
import torch

from active_indexing.training.optimization.lars import lars
from active_indexing.training.optimization.schedules import Schedule, SizeStage, size_at
from active_indexing.training.optimization.weight_average import WeightAverage
from active_indexing.training.recipes.registry import recipe
from tests.reference.losses import lars_steps


@pytest.mark.parametrize("decay", [0.01, 1e-6, 0.0])
def test_lars_equals_the_slow_oracle_over_fifty_steps(decay):
    start = [0.5, -1.0, 2.0]
    gradients = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).tolist()
    weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = lars([weight], lr=4.8, weight_decay=decay)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    expected = lars_steps(start, gradients, lr=4.8, momentum=0.9, decay=decay)
    assert weight.tolist() == pytest.approx(expected, rel=1e-12)


def test_lars_updates_zero_weights_with_the_raw_gradient():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([1.0, -2.0])
    lars([weight], lr=0.5).step()
    assert weight.tolist() == [-0.5, 1.0]


def test_lars_goes_on_from_the_state_of_the_class_that_this_program_once_had():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = lars([weight], lr=0.5, weight_decay=0.0)
    group = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.0, "params": [0]}
    optimizer.load_state_dict(
        {"state": {0: {"velocity": torch.tensor([10.0, 0.0])}}, "param_groups": [group]}
    )
    weight.grad = torch.tensor([1.0, 2.0])
    optimizer.step()
    assert weight.tolist() == [3.0 - 0.5 * 10.0, 4.0 - 0.5 * 2.0]


def test_the_published_schedule_warms_up_then_follows_a_cosine_to_zero():
    schedule = Schedule(steps=100, warmup_steps=10)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(9) == schedule.factor(10) == 1.0
    assert schedule.factor(55) == pytest.approx(0.5)
    assert schedule.factor(100) == pytest.approx(0.0)


def test_a_plateau_ends_in_a_linear_decay():
    schedule = Schedule(steps=100, warmup_steps=10, decay_start=60, shape="linear")
    assert [schedule.factor(step) for step in (10, 60, 80, 100)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"steps": 0}, "at least 1 step, got 0"),
        ({"steps": 10, "warmup_steps": 11}, r"warm-up \(11\) and decay start \(0\) must lie in the 10 steps"),
        ({"steps": 10, "shape": "square"}, "unknown decay shape 'square'; expected one of cosine, linear"),
    ],
)
def test_impossible_schedules_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**setting)


def test_view_size_changes_at_the_start_of_its_stage():
    stages = (SizeStage(0, 64), SizeStage(5, 80))
    assert [size_at(stages, step) for step in (0, 4, 5, 99)] == [64, 64, 80, 80]


def test_the_average_forgets_the_start_fast_and_then_moves_by_one_minus_decay():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(1.0)
    average.update(network, 0)  # decay (1 + 0) / (10 + 0)
    assert average.state["weight"].item() == pytest.approx(0.9)
    average.update(network, 1000)
    assert average.state["weight"].item() == pytest.approx(0.91)


def test_an_average_that_never_moves_is_refused():
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), got 1.0"):
        WeightAverage(torch.nn.Linear(1, 1), 1.0)


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("vit4icd_stage1", 25), ("vit4icd_stage2a", 25), ("vit4icd_stage2b", 10), ("vit4icd_stage3", 10)],
)
def test_vit4icds_rate_is_constant_within_an_epoch_and_follows_the_published_factors(name, epochs):
    schedule = recipe(name).schedule
    assert schedule.steps == epochs * 8_000
    plateau = 10 if epochs == 25 else 5
    for epoch in range(epochs):
        ramp = 0.01 + 0.99 * epoch / 5
        wave = 0.5 * (1 + math.cos(math.pi * (epoch - plateau) / (epochs - plateau)))
        expected = ramp if epoch < 5 else 1.0 if epoch < plateau else wave
        for step in (0, 4_321, 7_999):
            assert schedule.factor(epoch * 8_000 + step) == pytest.approx(expected)


def test_the_rate_of_a_linear_decay_by_epochs_and_its_limits():
    schedule = Schedule(steps=30, shape="linear", epoch_steps=10)
    thirds = [3 * schedule.factor(step) for step in (0, 9, 10, 19, 20, 29)]
    assert thirds == pytest.approx([3, 3, 2, 2, 1, 1])
    with pytest.raises(ValueError, match="floor of the warm-up is a share and an epoch has steps, got 2"):
        Schedule(steps=3, warmup_floor=2)
