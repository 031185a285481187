from __future__ import annotations

import numpy as np
import pytest
import torch

from active_indexing.activation.perturbation import jnd, masking


def grain(height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(80, 120, (height, width, 3)).astype(np.uint8)


def test_grain_is_open_and_one_colour_is_closed() -> None:
    assert masking.openness(grain(), (30, 40)).min() == 1
    assert masking.openness(np.full((60, 80, 3), 7, np.uint8), (30, 40)).max() == 0


def test_the_flat_half_of_an_image_is_closed() -> None:
    pixels = grain()
    pixels[:, :40] = 200
    opened = masking.openness(pixels, (30, 40))[0]
    assert opened[:, :16].max() == 0
    assert opened[:, 24:].min() == 1


def test_lines_on_white_are_closed() -> None:
    page = np.full((64, 64, 3), 255, np.uint8)
    page[::8, 4:60] = 0
    page[3::8, 4:60:7] = 40
    assert masking.openness(page, (32, 32)).mean() < 0.2


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 5000)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    opened = masking.openness(grain(*size), (8, 8))
    assert opened.shape == (1, 8, 8)
    assert bool(((opened >= 0) & (opened <= 1)).all())


def test_bounds_are_the_noticeable_difference_of_each_channel_where_it_is_open() -> None:
    pixels = torch.rand(2, 3, 12, 14, generator=torch.Generator().manual_seed(0))
    opened = torch.zeros(2, 1, 12, 14)
    opened[:, :, :, 7:] = 1
    found = masking.bounds(pixels, opened)
    assert not found[..., :7].any()
    expected = jnd.jnd(pixels[1])[0, :, 7:] * jnd.CHANNEL_SCALE[2]
    torch.testing.assert_close(found[1, 2, :, 7:], expected)


def test_grey_is_three_equal_channels() -> None:
    assert masking.is_grey(np.repeat(grain()[..., :1], 3, axis=2))
    almost = np.repeat(grain()[..., :1], 3, axis=2)
    almost[3, 4, 2] += 1
    assert not masking.is_grey(almost)
