from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from active_indexing.activation.perturbation.optimizers import (
    TIMM_ALSO,
    build_optimizer,
    build_scheduler,
    check_specs,
    parse_spec,
)

CLASSES = sorted(
    name
    for name, found in vars(torch.optim).items()
    if isinstance(found, type) and issubclass(found, Optimizer) and found is not Optimizer
)
TIMM = ["AdamP", "Lamb", "Lion", "MADGRAD", "NAdamW", "SGDP", "adamw", "lamb", "nesterov", "cadamw"]


def perturbation() -> Tensor:
    return torch.zeros(3, 5, 4, requires_grad=True)


def optimised(spec: str, steps: int = 5) -> tuple[float, float]:
    """Squared distance from a fixed place before and after."""
    goal = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    delta = perturbation()
    optimizer = build_optimizer(spec, [delta])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (delta - goal).square().sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return float(goal.square().sum()), float((delta.detach() - goal).square().sum())


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("Adam,lr=1e-0", "Adam", {"lr": 1.0}),
        ("Adam", "Adam", {}),
        (" AdamW , lr = 0.5 , betas=(0.9, 0.99)", "AdamW", {"lr": 0.5, "betas": (0.9, 0.99)}),
        ("SGD,lr=1,nesterov=True,momentum=0.9", "SGD", {"lr": 1, "nesterov": True, "momentum": 0.9}),
        ("Adam,amsgrad=false,foreach=None", "Adam", {"amsgrad": False, "foreach": None}),
        ("MultiStepLR,milestones=[3,6],gamma=.1", "MultiStepLR", {"milestones": [3, 6], "gamma": 0.1}),
        ("LBFGS,line_search_fn=strong_wolfe", "LBFGS", {"line_search_fn": "strong_wolfe"}),
        ("X,a={'b': (1, 2), 'c': [3]},d='e f'", "X", {"a": {"b": (1, 2), "c": [3]}, "d": "e f"}),
    ],
)
def test_a_specification_is_a_name_and_python_values(spec: str, name: str, options: dict[str, Any]) -> None:
    assert parse_spec(spec) == (name, options)
    assert [type(value) for value in parse_spec(spec)[1].values()] == [type(v) for v in options.values()]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("Adam,0.1", "'0.1' is not key=value; write it as in Adam,lr=1e-2"),
        ("Adam,=3", "is not key=value"),
        ("Adam,", "is not key=value"),
        ("", "names nothing"),
        (",lr=1", "names nothing"),
    ],
)
def test_a_specification_that_cannot_be_read_says_how_to_write_it(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_spec(spec)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in ("SparseAdam", "Muon")])
def test_every_dense_optimizer_of_torch_moves_a_perturbation(name: str) -> None:
    check_specs(f"{name},lr=0.05", "none")
    before, after = optimised(f"{name},lr=0.05")
    assert after < before


@pytest.mark.parametrize("name", TIMM)
def test_optimizers_of_timm_by_class_or_short_name_move_it_too(name: str) -> None:
    check_specs(f"{name},lr=0.05", "none")
    before, after = optimised(f"{name},lr=0.05")
    assert after < before


def test_timm_wins_where_both_have_an_optimizer_of_their_own() -> None:
    timm_optim = pytest.importorskip("timm.optim")
    differing = [n for n in CLASSES if getattr(timm_optim, n, None) not in (None, getattr(torch.optim, n))]
    own = [name for name in differing if getattr(timm_optim, name).__module__.startswith("timm.")]
    assert set(TIMM_ALSO) == set(own)
    assert type(build_optimizer("Adafactor,lr=0.1", [perturbation()])) is timm_optim.Adafactor
    assert type(build_optimizer("Adam,lr=0.1", [perturbation()])) is torch.optim.Adam


def test_lbfgs_calls_its_closure_and_arrives() -> None:
    assert optimised("LBFGS,lr=1.0,line_search_fn=strong_wolfe", steps=2)[1] < 1e-6


@pytest.mark.parametrize("name", ["Adamm", "Optimizer2", "lr_scheduler", "os"])
def test_an_unknown_optimizer_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"--optimizer '{name}': neither torch.optim nor timm.optim has"):
        build_optimizer(name, [perturbation()])


def test_options_that_an_optimizer_does_not_take_are_told_with_the_specification() -> None:
    with pytest.raises(ValueError, match=r"'Adam,speed=3' can't be made: .*speed"):
        build_optimizer("Adam,speed=3", [perturbation()])
    with pytest.raises(ValueError, match=r"'Adam,lr=-1' can't be made: Invalid learning rate"):
        build_optimizer("Adam,lr=-1", [perturbation()])


@pytest.mark.parametrize("spec", ["SparseAdam,lr=0.1", "Adahessian,lr=0.1"])
def test_an_optimizer_that_cannot_step_on_an_image_is_told_before_any_image(spec: str) -> None:
    with pytest.raises(ValueError, match=rf"--optimizer '{spec}' .* can't optimise an image"):
        check_specs(spec, "none")


@pytest.mark.parametrize(
    "spec", ["Lookahead,lr=0.1", "Optimizer,lr=0.1", "fusedadam,lr=0.1", "bnbadam,lr=0.1"]
)
def test_an_optimizer_that_needs_something_else_is_told_before_any_image(spec: str) -> None:
    with pytest.raises(ValueError, match=rf"'{spec}' can't be made"):
        check_specs(spec, "none")


def rates(scheduler: str, steps: int, losses: list[float] | None = None) -> list[float]:
    optimizer = build_optimizer("SGD,lr=1.0", [perturbation()])
    advance = build_scheduler(scheduler, optimizer)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        advance(step, losses[step] if losses else 0.0)
    return found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("none", [1, 1, 1, 1, 1]),
        ("None", [1, 1, 1, 1, 1]),
        ("StepLR,step_size=2,gamma=0.1", [1, 1, 0.1, 0.1, 0.01]),
        ("MultiStepLR,milestones=[1,3],gamma=0.5", [1, 0.5, 0.5, 0.25, 0.25]),
        ("ExponentialLR,gamma=0.5", [1, 0.5, 0.25, 0.125, 0.0625]),
        ("CosineAnnealingLR,T_max=4", [1, 0.853553, 0.5, 0.146447, 0]),
        ("LinearLR,start_factor=0.5,total_iters=2", [0.5, 0.75, 1, 1, 1]),
        ("StepLRScheduler,decay_t=2,decay_rate=0.1", [1, 1, 0.1, 0.1, 0.01]),
        ("CosineLRScheduler,t_initial=4", [1, 0.853553, 0.5, 0.146447, 0]),
        ("CosineLRScheduler,t_initial=4,t_in_epochs=False", [1, 0.853553, 0.5, 0.146447, 0]),
        # timm counts milestones one step earlier than torch
        ("MultiStepLRScheduler,decay_t=[2,4],decay_rate=0.5", [1, 0.5, 0.5, 0.25, 0.25]),
    ],
)
def test_schedules_of_both_libraries_set_the_rate_of_every_step(spec: str, expected: list[float]) -> None:
    assert rates(spec, 5) == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore:PlateauLRScheduler is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "spec",
    ["ReduceLROnPlateau,patience=0,factor=0.5", "PlateauLRScheduler,patience_t=0,decay_rate=0.5,mode=min"],
)
def test_a_plateau_schedule_follows_the_loss(spec: str) -> None:
    assert rates(spec, 5, losses=[5.0, 4.0, 4.0, 3.0, 2.0]) == [1.0, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("name", ["Cosinus", "Optimizer", "Counter", "create_scheduler", "Scheduler"])
def test_an_unknown_scheduler_is_named(name: str) -> None:
    message = f"--scheduler '{name}': neither torch.optim.lr_scheduler nor timm.scheduler has"
    with pytest.raises(ValueError, match=message):
        check_specs("Adam,lr=0.1", name)


def test_options_that_a_scheduler_does_not_take_are_told() -> None:
    with pytest.raises(ValueError, match=r"'StepLR,size=3' can't be made"):
        check_specs("Adam,lr=0.1", "StepLR,size=3")


def test_a_schedule_that_ends_before_the_last_step_is_told_before_any_image() -> None:
    check_specs("SGD,lr=1", "OneCycleLR,max_lr=1,total_steps=5", iterations=5)
    with pytest.raises(ValueError, match=r"OneCycleLR.* can't optimise an image"):
        check_specs("SGD,lr=1", "OneCycleLR,max_lr=1,total_steps=5", iterations=10)


def test_a_schedule_that_divides_by_zero_is_told_before_any_image() -> None:
    with pytest.raises(ValueError, match=r"StepLR,step_size=0' can't optimise an image: .*modulo by zero"):
        check_specs("SGD,lr=1", "StepLR,step_size=0")
