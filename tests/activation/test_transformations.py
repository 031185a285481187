from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation import transformations as module
from active_indexing.activation.transformations import (
    Transformations,
    joined,
    random_transformations,
    transformed,
    turn_matrix,
)
from active_indexing.images.tensors import LUMA, to_tensor
from tests.activation.worlds import picture

HEIGHT, WIDTH = 12, 18


def image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(1, 3, height, width)."""
    return to_tensor(picture(seed, height, width))[None]


def unchanged(count: int = 1) -> Transformations:
    """Parameters that change nothing."""
    ones, zeros = torch.ones(count), torch.zeros(count)
    return Transformations(
        matrix=torch.eye(2, 3).repeat(count, 1, 1),
        canvas=zeros,
        brightness=ones,
        contrast=ones,
        hue=zeros,
        blur=zeros,
    )


def edited(pixels: Tensor, size: tuple[int, int] | None = None, **parameters: float | Tensor) -> Tensor:
    """One edit, of which only the given parameters change something."""
    given = {k: v if isinstance(v, Tensor) else torch.tensor([v]) for k, v in parameters.items()}
    height, width = pixels.shape[2:]
    return transformed(pixels, replace(unchanged(), **given), size or (height, width))


def luma(pixels: Tensor) -> Tensor:
    return torch.einsum("c,nchw->nhw", torch.tensor(LUMA), pixels)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (9, 9), (30, 20)], ids=str)
def test_parameters_of_nothing_give_the_resized_image(size: tuple[int, int]) -> None:
    expected = F.interpolate(image(), size, mode="bilinear", align_corners=False)
    if size[0] > HEIGHT:  # grid samples beyond the outermost centres fade into the canvas
        assert torch.allclose(
            transformed(image(), unchanged(), size)[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1e-5
        )
    else:
        assert torch.allclose(transformed(image(), unchanged(), size), expected, atol=1e-5)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(16, 16), (12, 18), (20, 10)], ids=str)
def test_quarter_turns_are_those_of_the_pixels(quarters: int, shape: tuple[int, int]) -> None:
    pixels = image(1, *shape)
    matrix = turn_matrix(torch.tensor([90.0 * quarters]), shape[0] / shape[1], torch.tensor([True]))
    expected = torch.rot90(pixels, quarters, dims=(2, 3))  # counter-clockwise
    height, width = expected.shape[2:]
    assert torch.allclose(edited(pixels, (height, width), matrix=matrix), expected, atol=1e-4)


def test_a_turn_within_the_shape_keeps_the_scale_whatever_the_aspect() -> None:
    """A point a quarter of the width to the right of the centre lies as far above it after a quarter turn."""
    aspect = HEIGHT / WIDTH
    matrix = turn_matrix(torch.tensor([90.0]), aspect, torch.tensor([False]))[0, :, :2]
    # Output place above the centre by a quarter of the width: in [-1, 1] of the height, negative is up.
    above = torch.tensor([0.0, -0.5 / aspect])
    assert (matrix @ above).tolist() == pytest.approx([0.5, 0.0], abs=1e-6)


def test_the_whole_of_a_turned_image_is_on_the_canvas() -> None:
    """Every corner of the image lies inside the output, and touches its edge."""
    aspect = HEIGHT / WIDTH
    for degrees in (10.0, 33.0, -40.0, 75.0):
        matrix = turn_matrix(torch.tensor([degrees]), aspect, torch.tensor([True]))[0, :, :2]
        corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        places = torch.linalg.solve(matrix, corners.T).T
        assert places.abs().amax(dim=0).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


def test_a_crop_is_a_slice_resized() -> None:
    # The right lower quarter of 12 x 18: rows 6 to 12, columns 9 to 18.
    matrix = torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]])
    part = image()[:, :, 6:, 9:]
    assert torch.allclose(edited(image(), (6, 9), matrix=matrix), part, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_outside_the_image_is_the_canvas(level: float) -> None:
    matrix = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])  # half its height above and below
    found = edited(image(), (2 * HEIGHT, WIDTH), matrix=matrix, canvas=level)
    for outside in (found[:, :, :6], found[:, :, 18:]):
        assert torch.allclose(outside, torch.full_like(outside, level), atol=1e-5)
    assert torch.allclose(found[:, :, 6:18], image(), atol=1e-5)


def test_brightness_and_contrast_by_hand() -> None:
    pixels = torch.tensor([0.2, 0.4, 0.6])[None, :, None, None].expand(1, 3, 4, 4)
    assert edited(pixels, brightness=2.0)[0, :, 0, 0].tolist() == pytest.approx([0.4, 0.8, 1.0])
    mean = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    expected = [mean + (value - mean) * 1.5 for value in (0.2, 0.4, 0.6)]
    assert edited(pixels, contrast=1.5)[0, :, 0, 0].tolist() == pytest.approx(expected)
    assert edited(pixels, contrast=0.0)[0, :, 0, 0].tolist() == pytest.approx([mean] * 3)


def test_a_turn_of_the_hue_keeps_the_luminance_and_all_the_way_round_is_nothing() -> None:
    pixels = 0.4 + 0.2 * image()  # far from black and white, where nothing is clipped
    third = edited(pixels, hue=1 / 3)
    assert not torch.allclose(third, pixels, atol=0.05)
    assert torch.allclose(luma(third), luma(pixels), atol=2e-3)
    for turns in (0.0, 1.0, -1.0):
        assert torch.allclose(edited(pixels, hue=turns), pixels, atol=1e-5)
    assert torch.allclose(edited(edited(pixels, hue=0.1), hue=-0.1), pixels, atol=1e-4)
    grey = torch.full((1, 3, 4, 4), 0.5)
    assert torch.allclose(edited(grey, hue=0.25), grey, atol=1e-3)


def test_blur_is_the_mean_of_three_by_three() -> None:
    pixels = torch.zeros(1, 3, 5, 5)
    pixels[:, :, 2, 2] = 0.9
    found = edited(pixels, blur=1.0)[0, 0]
    assert torch.allclose(found[1:4, 1:4], torch.full((3, 3), 0.1))
    assert found[0].abs().max() == found[:, 4].abs().max() == 0
    assert torch.allclose(edited(torch.full((1, 3, 5, 5), 0.7), blur=1.0), torch.full((1, 3, 5, 5), 0.7))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_edits_of_each_image_follow_one_another_and_do_not_mix() -> None:
    pictures = torch.cat([image(0), image(1)])
    parts = [random_transformations(3, HEIGHT / WIDTH, generator(seed)) for seed in (5, 6)]
    together = transformed(pictures, joined(parts), (10, 11))
    assert together.shape == (6, 3, 10, 11)
    alone = [transformed(pictures[i : i + 1], part, (10, 11)) for i, part in enumerate(parts)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_draws_depend_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = random_transformations(20, 0.7, generator(3))
    torch.manual_seed(2)
    second, other = (
        random_transformations(20, 0.7, generator(3)),
        random_transformations(20, 0.7, generator(4)),
    )
    for field in fields(Transformations):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name))
    assert not torch.equal(first.matrix, other.matrix)


@pytest.mark.parametrize("aspect", [0.25, 1.0, 3.0])
def test_parameters_lie_in_their_ranges_and_each_kind_happens(aspect: float) -> None:
    drawn = random_transformations(2000, aspect, generator(0))
    for factor in (drawn.brightness, drawn.contrast):
        assert 1 / module.TONE - 1e-5 <= factor.min() < 1 < factor.max() <= module.TONE + 1e-5
    assert -module.HUE <= drawn.hue.min() < 0 < drawn.hue.max() <= module.HUE
    assert 0 <= drawn.canvas.min() < drawn.canvas.max() <= 1
    assert set(drawn.blur.tolist()) == {0.0, 1.0}
    changes = (drawn.brightness != 1).int() + (drawn.contrast != 1).int() + (drawn.hue != 0).int()
    assert set(changes.tolist()) <= {0, 1}, "one change of colour at most"
    straight = (drawn.matrix[:, 0, 1].abs() < 1e-6) & (drawn.matrix[:, 1, 0].abs() < 1e-6)
    assert 0.2 < straight.float().mean() < 0.98
    assert torch.isfinite(drawn.matrix).all()


def test_values_stay_between_black_and_white() -> None:
    pictures = torch.cat([image(seed) for seed in range(4)])
    found = transformed(
        pictures, joined([random_transformations(50, HEIGHT / WIDTH, generator(s)) for s in range(4)]), (9, 9)
    )
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.isnan(found).any()


def smooth(count: int = 6) -> Transformations:
    """Draws whose colours clip nothing in a picture near middle grey, so that differences are derivatives."""
    drawn = random_transformations(count, HEIGHT / WIDTH, generator(2))
    calm = torch.linspace(0.9, 1.1, count)
    return replace(drawn, brightness=calm, contrast=calm.flip(0), hue=0.1 * drawn.hue)


def test_gradients_of_the_pixels_are_those_of_finite_differences() -> None:
    parameters = Transformations(
        **{f.name: getattr(smooth(), f.name).double() for f in fields(Transformations)}
    )
    pixels = (0.45 + 0.1 * image()).double().requires_grad_(True)

    def summed(values: Tensor) -> Tensor:
        found = transformed(values, parameters, (8, 8))
        return (found * torch.linspace(0, 1, found.numel(), dtype=found.dtype).view_as(found)).sum()

    (gradient,) = torch.autograd.grad(summed(pixels), pixels)
    assert (gradient != 0).float().mean() > 0.5
    rng = np.random.default_rng(0)
    for _ in range(5):
        way = torch.from_numpy(rng.normal(size=tuple(pixels.shape)))
        with torch.no_grad():
            difference = (summed(pixels + 1e-5 * way) - summed(pixels - 1e-5 * way)) / 2e-5
        assert float(difference) == pytest.approx(float((gradient * way).sum()), rel=1e-4)


def test_every_edit_lets_a_gradient_through() -> None:
    pixels = (0.3 + 0.4 * image()).requires_grad_(True)
    for seed in range(20):
        found = transformed(pixels, random_transformations(1, HEIGHT / WIDTH, generator(seed)), (8, 8))
        (gradient,) = torch.autograd.grad(found.sum(), pixels)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
