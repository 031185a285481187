from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from active_indexing.activation.config import ActivationConfig
from active_indexing.activation.interface import Step
from active_indexing.activation.methods.published import METHOD, bounds, published
from active_indexing.activation.objectives.losses import cossim
from active_indexing.activation.objectives.targets import TARGETS
from active_indexing.descriptors.config import DescriptorConfig
from active_indexing.descriptors.loading import load_descriptor
from active_indexing.index.vector_index import new_index
from active_indexing.parallel.threads import map_as_done, one_core_per_operation
from active_indexing.seeding import torch_generator_for
from tests.conftest import Toy, pattern
from tests.reference import published as oracle

DIM = 16


class Network(nn.Module):
    """Normalised images of any size to unit vectors of 16 values."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.conv = nn.Conv2d(3, 8, 5, stride=2, bias=False)
            self.last = nn.Linear(8 * 9, DIM, bias=False)

    def forward(self, normalised: Tensor) -> Tensor:
        small = F.interpolate(normalised, (20, 20), mode="bilinear", antialias=True, align_corners=False)
        hidden = F.avg_pool2d(torch.tanh(self.conv(small)), 2).flatten(2)
        return F.normalize(self.last(F.adaptive_avg_pool1d(hidden, 9).flatten(1)), dim=1)


NETWORK = Network().eval().requires_grad_(False)
DOUBLE = Network().eval().requires_grad_(False).double()
MEAN, STD = oracle.MEAN.float(), oracle.STD.float()


def describe(pixels: Tensor) -> Tensor:
    return NETWORK((pixels - MEAN) / STD)


def image(seed: int = 0, height: int = 30, width: int = 26) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(pattern(rng, height, width)).permute(2, 0, 1).float().contiguous() / 255


def unit(seed: int) -> Tensor:
    return F.normalize(torch.randn(DIM, generator=torch.Generator().manual_seed(seed)), dim=0)


def start(seed: int, shape: torch.Size) -> np.ndarray:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()


def run(
    pixels: Tensor,
    target: Tensor,
    config: ActivationConfig,
    seed: int = 1,
    **rest: Tensor | Callable[[Step], None],
) -> Tensor:
    return published(pixels, target, describe, config, torch.Generator().manual_seed(seed), **rest)


DEFAULT = ActivationConfig(method="published")


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (DEFAULT, {}),
        (replace(DEFAULT, use_tanh=False, optimizer="Adam,lr=1e-2"), {"tanh": False, "rate": 1e-2}),
        (replace(DEFAULT, scale_channels=False), {"channels": False}),
        (replace(DEFAULT, use_attenuation=False), {"mask": False}),
        (replace(DEFAULT, loss_f="l2", lambda_f=0.5), {"loss": "l2", "lambda_f": 0.5}),
        (replace(DEFAULT, lambda_i=50.0, iterations=4), {"lambda_i": 50.0, "steps": 4}),
        (replace(DEFAULT, scaling=1.5, optimizer="Adam,lr=0.1"), {"scaling": 1.5, "rate": 0.1}),
    ],
    ids=[
        "default",
        "no tanh",
        "no channels",
        "no mask",
        "l2",
        "image loss",
        "small steps",
    ],
)
def test_the_product_equals_the_published_steps_written_out(
    config: ActivationConfig, settings: dict[str, float]
) -> None:
    pixels, target, steps = image(), unit(0), []
    change = run(pixels, target, config, on_step=steps.append).numpy()
    expected, losses = oracle.activate(
        pixels.numpy(), start(1, pixels.shape), target.numpy(), DOUBLE, **settings
    )
    # float32 against float64, measured: at most 3e-4 of the largest change.
    np.testing.assert_allclose(change, expected, atol=1e-3 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3
    seen = np.array([[step.loss_f, step.loss_i] for step in steps])
    np.testing.assert_allclose(seen, losses, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("batch", [16, 4])
def test_a_batch_moves_images_as_far_as_the_published_program_does(batch: int) -> None:
    # Gradients as small as a photo's, where Adam's 1e-8 and so the divisor count.
    pixels, target, weights = image(), unit(0), {"lambda_f": 1e-5, "lambda_i": 1e-7}
    config = replace(DEFAULT, loss_batch=batch, iterations=4, **weights)
    change = run(pixels, target, config).numpy()
    expected, other = (
        oracle.activate(
            *(pixels.numpy(), start(1, pixels.shape), target.numpy(), DOUBLE),
            batch=divisor, steps=4, **weights,
        )[0]
        for divisor in (batch, 20 - batch)
    )  # fmt: skip
    np.testing.assert_allclose(change, expected, atol=1e-3 * np.abs(expected).max())
    assert np.abs(other - expected).max() > 0.02 * np.abs(expected).max()
    assert (np.abs(other).mean() > np.abs(expected).mean()) == (batch == 16)


@pytest.mark.parametrize("batch", [16, 4, 1])
def test_the_losses_are_divided_by_the_published_batch(batch: int) -> None:
    assert DEFAULT.loss_batch == 16
    pixels, target = image(), unit(0)
    config = replace(DEFAULT, optimizer="SGD,lr=1.0", use_tanh=False, iterations=1, loss_batch=batch)
    change = run(pixels, target, config).numpy()
    beginning = bounds(pixels, config) * 1e-6 * torch.from_numpy(start(1, pixels.shape)) * STD
    variable = torch.zeros_like(pixels, requires_grad=True)
    cossim(describe((pixels + bounds(pixels, config) * variable * STD)[None]), target).sum().backward()
    assert variable.grad is not None
    expected = beginning - bounds(pixels, config) * variable.grad / batch * STD
    np.testing.assert_allclose(change, expected.numpy(), rtol=1e-3, atol=1e-9)


def test_the_descriptor_moves_to_its_target_and_the_bound_holds() -> None:
    pixels, target = image(), unit(0)
    change = run(pixels, target, DEFAULT)
    before, after = (describe(each[None])[0] @ target for each in (pixels, pixels + change))
    assert after > before + 0.05
    assert (change.abs() <= bounds(pixels, DEFAULT) * STD + 1e-7).all()


def test_bounds_at_the_floor_are_those_of_the_paper_in_grey_levels() -> None:
    # 3 * 5 grey levels * (0.2408, 0.1227, 0.6316) * std = 0.83, 0.41, 2.13 (float of the fact sheet)
    grey = torch.full((3, 9, 9), 127 / 255)
    levels = 255 * (bounds(grey, DEFAULT) * STD)[:, 4, 4]
    assert levels.tolist() == pytest.approx([0.827, 0.412, 2.132], abs=1e-3)
    even = 255 * bounds(grey, replace(DEFAULT, scale_channels=False))[:, 4, 4]
    assert even.tolist() == pytest.approx([15.0, 15.0, 15.0])


def test_attenuation_off_bounds_every_pixel_alike() -> None:
    off = bounds(image(), replace(DEFAULT, use_attenuation=False))
    assert torch.equal(off, off[:, :1, :1].expand_as(off))
    assert bounds(image(), DEFAULT)[0].unique().numel() > 100


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_of_an_index_is_approached(name: str, toy: Toy) -> None:
    config = DescriptorConfig(model_path=toy.model, resize_size=toy.size)
    descriptor = load_descriptor(config, torch.device("cpu"))
    index = new_index("IVF4,PQ4x4np", "L2", toy.dim)
    index.train(np.load(toy.training))
    pixels = image(3, 40, 48)
    original = descriptor(pixels[None]).numpy()
    target = torch.from_numpy(TARGETS[name](index, original)[0])
    change = published(pixels, target, descriptor, DEFAULT, torch.Generator().manual_seed(0))
    moved = F.cosine_similarity(descriptor((pixels + change)[None])[0], target, dim=0)
    still = F.cosine_similarity(torch.from_numpy(original[0]), target, dim=0)
    # The original is its own best already; there the method can only stay near.
    assert moved > 0.99 if name == "ori_ft" else moved > still + 0.05


def test_an_image_does_not_depend_on_the_others_or_on_the_number_of_threads() -> None:
    images = [image(seed, 20 + seed, 33 - seed) for seed in range(6)]

    def one(number: int) -> tuple[int, Tensor]:
        generator = torch_generator_for(0, number, "delta")
        return number, published(images[number], unit(number), describe, DEFAULT, generator)

    with one_core_per_operation():
        alone = dict(one(number) for number in range(6))
        for threads, order in ((1, range(6)), (3, reversed(range(6)))):
            together = dict(map_as_done(one, order, threads))
            assert all(torch.equal(alone[number], together[number]) for number in range(6))


def test_the_seed_changes_the_result_and_nothing_global_does() -> None:
    first = run(image(), unit(0), DEFAULT, seed=1)
    torch.manual_seed(77)
    assert torch.equal(first, run(image(), unit(0), DEFAULT, seed=1))
    assert not torch.equal(first, run(image(), unit(0), DEFAULT, seed=2))


def test_hidden_pixels_neither_help_nor_count() -> None:
    pixels, target, opacity = image(), unit(0), torch.ones(1, 30, 26)
    opacity[:, :, 13:] = 0.0
    seen: list[Step] = []
    change = run(pixels, target, DEFAULT, opacity=opacity, on_step=seen.append)
    visible = (change * opacity / STD).square().mean()
    assert seen[-1].loss_i <= float(visible) * 1.5
    assert change[:, :, 13:].abs().max() < 1e-5  # no gradient reaches them: delta keeps its start
    assert change[:, :, :13].abs().max() > 1e-3


def test_a_step_reports_what_it_saw_before_its_update() -> None:
    pixels, target, seen = image(), unit(0), []
    config = replace(DEFAULT, iterations=3, loss_batch=4, scheduler="StepLR,step_size=1,gamma=0.5")
    run(pixels, target, config, on_step=seen.append)
    assert [step.gd_it for step in seen] == [0, 1, 2]
    assert [step.lr for step in seen] == [1.0, 0.5, 0.25]
    assert seen[0].loss_f == pytest.approx(float(-describe(pixels[None])[0] @ target), abs=1e-4)
    assert seen[0].linf < 0.01 < seen[1].linf
    assert seen[0].psnr > 100 > seen[1].psnr
    for step in seen:
        assert step.loss == pytest.approx(step.loss_f + 1e-2 * step.loss_i, rel=1e-5)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_flat_image_gets_finite_values(level: float) -> None:
    change = run(torch.full((3, 8, 8), level), unit(0), DEFAULT)
    assert torch.isfinite(change).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (200, 3)])
def test_odd_sizes_work(size: tuple[int, int]) -> None:
    assert run(torch.rand(3, *size), unit(0), DEFAULT).shape == (3, *size)


def test_an_optimizer_that_looks_several_times_per_step_reports_the_first_look() -> None:
    seen: list[Step] = []
    config = replace(DEFAULT, optimizer="LBFGS,lr=1.0,max_iter=4", iterations=3)
    run(image(), unit(0), config, on_step=seen.append)
    assert len(seen) == 3
    assert seen[0].linf < 0.01


def test_a_perturbation_that_diverges_says_so() -> None:
    config = replace(DEFAULT, optimizer="SGD,lr=1e38", use_tanh=False)
    with pytest.raises(ValueError, match=r"diverged with --optimizer 'SGD,lr=1e38'.*lower the learning rate"):
        run(image(), unit(0), config)


def test_the_published_defaults() -> None:
    assert (METHOD.steps, DEFAULT.optimizer, DEFAULT.scheduler) == (10, "Adam,lr=1e-0", "none")
    assert (DEFAULT.lambda_f, DEFAULT.lambda_i, DEFAULT.scaling) == (1.0, 1e-2, 3.0)
