from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from active_indexing.descriptors.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    pixels = torch.rand(2, 3, 16, 16)
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    expected = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(Preprocessing(16)(pixels), expected)


def test_halving_a_checkerboard_gives_grey_because_the_resize_is_antialiased() -> None:
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    checkerboard = ((rows + columns) % 2).float().expand(3, 64, 64)
    plain = Preprocessing(16, mean=(0, 0, 0), std=(1, 1, 1))
    assert (plain(checkerboard)[:, 2:-2, 2:-2] - 0.5).abs().max() < 0.01


def test_a_single_image_gives_the_row_of_its_batch() -> None:
    batch = torch.rand(2, 3, 21, 33)
    preprocessing = Preprocessing(12, "short_edge")
    torch.testing.assert_close(preprocessing(batch[1]), preprocessing(batch)[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(100, 200, (50, 100)), (200, 101, (99, 50)), (50, 50, (50, 50)), (1, 4000, (50, 200000))],
)
def test_short_edge_keeps_the_aspect_ratio(height: int, width: int, expected: tuple[int, int]) -> None:
    assert Preprocessing(50, "short_edge").output_size(height, width) == expected


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_short_edge_is_exact_and_the_long_edge_never_shorter(height: int, width: int) -> None:
    assert min(Preprocessing(32, "short_edge").output_size(height, width)) == 32


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (100, 200, (25, 50)),
        (200, 101, (50, 25)),
        (200, 103, (50, 26)),
        (50, 50, (50, 50)),
        (1, 4000, (1, 50)),
    ],
)
def test_long_edge_rounds_the_short_one_to_the_nearest(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    assert Preprocessing(50, "long_edge").output_size(height, width) == expected


@pytest.mark.parametrize("size", [(90, 121), (20, 31)])  # smaller and larger than the input
def test_grey_and_bicubic_are_those_of_pillow(size: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    grey = Image.fromarray(levels).convert("L").convert("RGB").resize((48, 48))
    expected = torch.from_numpy(np.array(grey)).permute(2, 0, 1).float()
    plain = Preprocessing(48, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic", grey=True)
    found = plain(torch.from_numpy(levels).permute(2, 0, 1).float() / 255) * 255
    assert (found - expected).abs().max() < 2.5  # Pillow rounds three times on the way
    assert (found - expected).abs().mean() < 0.5


def test_settings_that_came_later_leave_older_descriptions_as_they_were() -> None:
    older = {"size": 8, "resize": "square", "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    assert Preprocessing(8, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).as_dict() == older
    newer = Preprocessing(8, interpolation="bicubic", grey=True)
    assert Preprocessing.from_dict(newer.as_dict()) == newer


def test_gradients_reach_every_pixel() -> None:
    pixels = torch.rand(1, 3, 19, 23, requires_grad=True)
    Preprocessing(8)(pixels).sum().backward()
    assert pixels.grad is not None
    assert (pixels.grad.abs() > 0).all()


def test_the_function_survives_pickling_for_worker_processes() -> None:
    preprocessing = Preprocessing(160, "short_edge", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert pickle.loads(pickle.dumps(preprocessing)) == preprocessing


def test_the_name_says_how_and_to_what_size() -> None:
    assert Preprocessing(160).name == "square160"
    assert Preprocessing(288, "short_edge").name == "shortedge288"
    assert Preprocessing(224, grey=True).name == "square224grey"


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected pixels .* got \(1, 16, 16\)"):
        Preprocessing(8)(torch.rand(1, 16, 16))


def test_an_impossible_size_and_an_unknown_resize_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel and at most 4,096, got 0"):
        Preprocessing(0)
    with pytest.raises(
        ValueError, match="unknown resize 'crop'; expected one of square, short_edge, long_edge"
    ):
        Preprocessing(8, "crop")  # type: ignore[arg-type]
