"""Network inputs made band by band."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from active_indexing.descriptors import network_input
from active_indexing.descriptors.preprocessing import Preprocessing
from active_indexing.images.tensors import to_tensor


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(48),
        Preprocessing(20, "short_edge"),
        Preprocessing(40, "long_edge"),
        Preprocessing(32, interpolation="bicubic", grey=True),
    ],
)
@pytest.mark.parametrize("size", [(61, 50), (200, 90), (90, 200), (48, 48), (47, 300), (300, 17), (20, 31)])
@pytest.mark.parametrize("band_pixels", [1, 1000, 10**6])
def test_bands_give_the_bits_of_the_whole_image(
    preprocessing: Preprocessing, size: tuple[int, int], band_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_input, "BAND_PIXELS", band_pixels)
    pixels = image(*size)
    found = network_input.network_input(lambda top, bottom: pixels[top:bottom], *size, preprocessing)
    np.testing.assert_array_equal(found, preprocessing(to_tensor(pixels)).numpy())
    assert found.flags.c_contiguous


def test_a_large_image_is_taken_in_bands_that_cover_it_once() -> None:
    pixels, taken = image(700, 1000), []

    def rows(top: int, bottom: int) -> np.ndarray:
        taken.append((top, bottom))
        return pixels[top:bottom]

    found = network_input.network_input(rows, 700, 1000, Preprocessing(32))
    assert taken == [(0, 262), (262, 524), (524, 700)]
    np.testing.assert_array_equal(found, Preprocessing(32)(to_tensor(pixels)).numpy())


def test_another_preprocessing_gets_the_whole_image() -> None:
    pixels = image(700, 1000)
    found = network_input.network_input(lambda top, bottom: pixels[top:bottom], 700, 1000, torch.neg)
    np.testing.assert_array_equal(found, -to_tensor(pixels).numpy())
