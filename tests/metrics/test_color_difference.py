import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab, xyz2lab

from active_indexing.metrics.color_difference import SIGMA, VISIBLE, ColorDifference, color_difference
from active_indexing.metrics.srgb import LINEAR, TO_XYZ


def slow(reference: np.ndarray, released: np.ndarray) -> np.ndarray:
    """CIEDE2000 of every pixel after a Gaussian at full size."""
    labs = [
        xyz2lab(gaussian_filter(LINEAR[each].astype(float), (SIGMA, SIGMA, 0), mode="nearest") @ TO_XYZ.T)
        for each in (reference, released)
    ]
    return np.asarray(deltaE_ciede2000(*labs))


def test_a_flat_change_of_colour_is_its_ciede2000():
    grey, violet = np.full((30, 50, 3), 120, np.uint8), np.full((30, 50, 3), (126, 118, 128), np.uint8)
    expected = float(deltaE_ciede2000(rgb2lab(grey[0, 0]), rgb2lab(violet[0, 0])))
    found = color_difference(grey, violet)
    assert found.p99 == pytest.approx(expected, abs=0.01)
    assert expected > VISIBLE
    assert found.visible == 1.0


def test_equal_images_have_no_difference():
    grey = np.full((5, 3, 3), 120, np.uint8)
    assert color_difference(grey, grey) == ColorDifference(0.0, 0.0)


def test_grain_does_not_count_and_a_spot_does():
    rng = np.random.default_rng(0)
    grey = np.full((200, 200, 3), 120, np.uint8)
    grain = (grey + rng.integers(-4, 5, grey.shape)).astype(np.uint8)
    spot = grey.copy()
    spot[80:120, 80:120] += np.array((4, 0, 4), np.uint8)
    assert color_difference(grey, grain).p99 < 1
    assert color_difference(grey, spot).p99 > 3
    assert 0.02 < color_difference(grey, spot).visible < 0.05


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (64, 64), (333, 101), (523, 30)])
def test_cells_give_what_a_gaussian_at_full_size_gives(size):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: size[0], : size[1]]
    reference = np.stack([90 + 40 * np.sin(x / 11), 100 + 50 * np.cos(y / 13), 0 * x + 80.0], axis=2)
    blotches = 9 * np.sin(x / 15)[..., None] * np.sin(y / 19)[..., None] * (1, -1, 1)
    released = np.rint(reference + blotches + rng.normal(0, 2, reference.shape)).astype(np.uint8)
    reference = np.rint(reference).astype(np.uint8)
    expected, found = slow(reference, released), color_difference(reference, released)
    assert found.p99 == pytest.approx(np.percentile(expected, 99), rel=0.05, abs=0.1)
    assert found.visible == pytest.approx((expected > VISIBLE).mean(), abs=0.03)


def test_it_takes_two_images_of_one_size():
    with pytest.raises(ValueError, match="differ in size"):
        color_difference(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8))
