from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from active_indexing.activation.perturbation.scaling import FullPerturbation, perturbed
from active_indexing.activation.perturbation.visible_strength import SLACK, strength_for_quality
from active_indexing.metrics.ssimulacra2 import ssimulacra2

PHOTO = data.astronaut()[60:220, 140:340]
WAVES = FullPerturbation(
    np.repeat(4 * np.sin(np.arange(200) / 5)[None, :, None] * np.ones((160, 1, 3)), 1, axis=0).astype(
        np.float32
    )
)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("quality", [70.0, 80.0, 90.0])
def test_png_meets_the_quality_and_uses_it_up(quality: float) -> None:
    strength, met = strength_for_quality(PHOTO, WAVES, quality)
    assert met == ssimulacra2(PHOTO, perturbed(PHOTO, WAVES, strength))
    assert quality <= met <= quality + 3 * SLACK


@pytest.mark.parametrize("quality", [70.0, 80.0])
def test_jpeg_is_measured_beside_the_same_jpeg_without_the_change(quality: float) -> None:
    strength, met = strength_for_quality(PHOTO, WAVES, quality, jpeg)
    assert strength > 0
    assert met == ssimulacra2(jpeg(PHOTO), jpeg(perturbed(PHOTO, WAVES, strength)))
    assert met >= quality


def test_the_largest_strength_is_kept() -> None:
    assert strength_for_quality(PHOTO, WAVES, 50.0, most=0.25)[0] == 0.25


def test_a_change_of_nothing_has_no_strength() -> None:
    nothing = FullPerturbation(np.zeros((160, 200, 3), np.float32))
    assert strength_for_quality(PHOTO, nothing, 80.0, most=1.5) == (0.0, 100.0)


def test_where_no_change_is_good_enough_there_is_none() -> None:
    """An encoder that answers any change with ruin."""

    def ruin(pixels: np.ndarray) -> np.ndarray:
        return pixels if np.array_equal(pixels, PHOTO) else 255 - pixels

    strong = FullPerturbation(1e4 * WAVES.field)
    assert strength_for_quality(PHOTO, strong, 80.0, ruin) == (0.0, 100.0)
