import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from active_indexing.metrics import image_quality
from tests.reference import quality as oracle


def noisy_pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise = rng.integers(-9, 10, reference.shape)
    return reference, np.clip(reference.astype(int) + noise, 0, 255).astype(np.uint8)


def test_psnr_of_one_level_on_one_channel_in_three_is_52_9_db():
    grey = np.full((4, 4, 3), 100, np.uint8)
    released = grey.copy()
    released[..., 1] += 1
    assert image_quality.psnr(grey, released) == pytest.approx(10 * math.log10(255**2 * 3))


def test_black_against_white_is_0_db_and_255_levels():
    black, white = np.zeros((3, 2, 3), np.uint8), np.full((3, 2, 3), 255, np.uint8)
    assert image_quality.psnr(black, white) == pytest.approx(0)
    assert image_quality.linf(black, white) == 255


def test_equal_images_have_infinite_psnr_ssim_of_exactly_one_and_no_change():
    image, _ = noisy_pair(20, 15)
    assert image_quality.psnr(image, image) == math.inf
    assert image_quality.ssim(image, image) == 1.0
    assert image_quality.linf(image, image) == 0


def test_a_change_downwards_does_not_wrap_around():
    high, low = np.full((1, 1, 3), 1, np.uint8), np.full((1, 1, 3), 0, np.uint8)
    assert image_quality.linf(high, low) == image_quality.linf(low, high) == 1
    assert image_quality.psnr(high, low) == image_quality.psnr(low, high)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 9), (10, 12), (11, 11), (12, 11), (16, 25)])
def test_all_three_match_the_slow_oracle_at_odd_sizes(size):
    reference, released = noisy_pair(*size)
    assert image_quality.psnr(reference, released) == pytest.approx(oracle.psnr(reference, released))
    assert image_quality.ssim(reference, released) == pytest.approx(oracle.ssim(reference, released))
    assert image_quality.linf(reference, released) == oracle.linf(reference, released)


@pytest.mark.parametrize("size", [(37, 41), (120, 900), (90, 5000)])
def test_ssim_matches_scikit_image(size):
    reference, released = noisy_pair(*size)
    expected = structural_similarity(
        reference,
        released,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
        data_range=255,
    )
    assert image_quality.ssim(reference, released) == pytest.approx(expected, abs=1e-12)


def test_results_do_not_depend_on_the_height_of_the_bands(monkeypatch):
    reference, released = noisy_pair(200, 30)
    whole = [f(reference, released) for f in (image_quality.psnr, image_quality.ssim, image_quality.linf)]
    monkeypatch.setattr(image_quality, "_BAND_PIXELS", 1)
    banded = [f(reference, released) for f in (image_quality.psnr, image_quality.ssim, image_quality.linf)]
    assert banded == pytest.approx(whole, rel=1e-13)


def test_ssim_is_symmetric_and_falls_with_more_noise():
    reference, released = noisy_pair(64, 64)
    worse = (reference // 2 + released // 2) // 2
    assert image_quality.ssim(reference, released) == pytest.approx(image_quality.ssim(released, reference))
    assert image_quality.ssim(reference, worse) < image_quality.ssim(reference, released) < 1


@pytest.mark.parametrize("measure", [image_quality.psnr, image_quality.ssim, image_quality.linf])
def test_images_of_different_sizes_are_refused(measure):
    with pytest.raises(ValueError, match=r"differ in size: reference \(4, 4, 3\), released \(4, 5"):
        measure(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
@pytest.mark.parametrize("measure", [image_quality.psnr, image_quality.ssim, image_quality.linf])
def test_anything_but_8_bit_rgb_is_refused(measure, wrong):
    with pytest.raises(ValueError, match=r"reference must be \(H, W, 3\) uint8, got"):
        measure(wrong, wrong)
