from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from active_indexing.activation.perturbation.scaling import (
    TOLERANCE,
    FullPerturbation,
    MaskedPerturbation,
    UpsampledPerturbation,
    perturbed,
    strength_for_psnr,
)
from active_indexing.metrics import image_quality
from tests.conftest import pattern

WHOLE = slice(None)


def noise(height: int, width: int, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (height, width, 3)).astype(np.uint8)


def field(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) float32 in grey levels."""
    return np.random.default_rng(seed).normal(scale=3, size=(height, width, 3)).astype(np.float32)


def slowly_enlarged(small: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, pixel by pixel: sample centres at (i + 0.5) h / H - 0.5, the border continued."""
    out = np.empty((*size, 3))
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * small.shape[0] / size[0] - 0.5, 0), small.shape[0] - 1)
            x = min(max((j + 0.5) * small.shape[1] / size[1] - 0.5, 0), small.shape[1] - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, small.shape[0] - 1), min(left + 1, small.shape[1] - 1)
            above = small[top, left] * (1 - (x - left)) + small[top, right] * (x - left)
            under = small[below, left] * (1 - (x - left)) + small[below, right] * (x - left)
            out[i, j] = above * (1 - (y - top)) + under * (y - top)
    return out


@pytest.mark.parametrize("size", [(21, 34), (16, 12), (40, 12), (8, 6)], ids=str)
@pytest.mark.parametrize("strength", [1.0, 0.4, 2.5])
def test_an_enlarged_change_is_bilinear_within_a_level(size: tuple[int, int], strength: float) -> None:
    small = field(8, 6)
    found = UpsampledPerturbation(small, size).at(strength, WHOLE)
    assert found.shape == (*size, 3)
    assert np.abs(found - strength * slowly_enlarged(small, size)).max() <= 1


def test_a_change_of_nothing_is_nothing() -> None:
    assert not UpsampledPerturbation(np.zeros((4, 4, 3), np.float32), (9, 9)).at(5.0, WHOLE).any()
    assert not UpsampledPerturbation(field(4, 4), (9, 9)).at(0.0, WHOLE).any()


def test_a_full_change_is_rounded_and_bounded() -> None:
    change = FullPerturbation(np.array([[[0.4, 0.6, -1.4], [300, -300, 99.0]]], dtype=np.float32))
    assert change.at(1.0, WHOLE).tolist() == [[[0, 1, -1], [255, -255, 99]]]
    assert change.at(2.0, WHOLE)[0, 0].tolist() == [1, 1, -3]
    assert not change.at(0.0, WHOLE).any()


@pytest.mark.parametrize(
    "change",
    [FullPerturbation(field(30, 20)), UpsampledPerturbation(field(5, 4), (30, 20))],
    ids=["full", "enlarged"],
)
def test_rows_of_a_change_are_rows_of_the_whole(change: FullPerturbation | UpsampledPerturbation) -> None:
    alpha = noise(30, 20)[:, :, 0] // 200 * 100
    for each in (change, MaskedPerturbation(change, alpha)):
        whole = each.at(1.5, WHOLE)
        parts = [each.at(1.5, slice(top, top + 7)) for top in range(0, 30, 7)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_pixels_are_clipped_by_hand() -> None:
    pixels = np.array([[[0, 250, 100], [3, 255, 128]]], dtype=np.uint8)
    change = FullPerturbation(np.array([[[-5, 9, 7], [-3, 1, -200]]], dtype=np.float32))
    assert perturbed(pixels, change, 1.0).tolist() == [[[0, 255, 107], [0, 255, 0]]]
    assert pixels[0, 0].tolist() == [0, 250, 100]


def test_fully_transparent_pixels_stay_and_others_change() -> None:
    alpha = np.array([[0, 1], [255, 0]], dtype=np.uint8)
    change = MaskedPerturbation(FullPerturbation(np.full((2, 2, 3), 4, np.float32)), alpha)
    assert perturbed(np.full((2, 2, 3), 100, np.uint8), change, 1.0)[:, :, 0].tolist() == [
        [100, 104],
        [104, 100],
    ]


def same(pixels: np.ndarray) -> np.ndarray:
    return pixels


def jpeg(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))


def line_art() -> np.ndarray:
    pixels = np.full((120, 150, 3), 255, np.uint8)
    pixels[::9] = 0
    return pixels


KINDS = {
    "noise": noise(90, 120),
    "waves": pattern(np.random.default_rng(1), 150, 110),
    "middle grey": np.full((80, 100, 3), 128, np.uint8),
    "all white": np.full((80, 100, 3), 255, np.uint8),
    "all black": np.zeros((80, 100, 3), np.uint8),
    "line art": line_art(),
    "nearly white": noise(90, 120, low=250),
}


@pytest.mark.parametrize("asked", [30.0, 38.0, 42.0, 46.0, 52.0])
@pytest.mark.parametrize("kind", KINDS)
def test_every_image_meets_its_decibels_in_png(kind: str, asked: float) -> None:
    pixels = KINDS[kind]
    for change in (
        UpsampledPerturbation(field(16, 16), pixels.shape[:2]),
        FullPerturbation(field(*pixels.shape[:2])),
    ):
        strength, met = strength_for_psnr(pixels, change, asked)
        assert met == pytest.approx(asked, abs=0.1)
        assert image_quality.psnr(pixels, perturbed(pixels, change, strength)) == pytest.approx(met, abs=1e-9)


@pytest.mark.parametrize("asked", [34.0, 38.0, 42.0])
@pytest.mark.parametrize("kind", ["waves", "middle grey"])
def test_decibels_are_those_behind_a_lossy_format(kind: str, asked: float) -> None:
    pixels = KINDS[kind]
    change = UpsampledPerturbation(field(16, 16), pixels.shape[:2])
    strength, met = strength_for_psnr(pixels, change, asked, jpeg)
    assert met == pytest.approx(asked, abs=0.1)
    assert image_quality.psnr(jpeg(pixels), jpeg(perturbed(pixels, change, strength))) == met


@pytest.mark.parametrize("asked", [38.0, 42.0, 46.0])
def test_a_photo_meets_its_decibels_within_the_tolerance(asked: float) -> None:
    """Of the size of a small photo, with a perturbation of few large values, as activation makes them."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        pixels, peaks = pattern(rng, 375, 500), rng.laplace(size=(160, 160, 3)).astype(np.float32)
        _, met = strength_for_psnr(pixels, UpsampledPerturbation(peaks, (375, 500)), asked)
        assert met == pytest.approx(asked, abs=TOLERANCE)


def posterised(pixels: np.ndarray) -> np.ndarray:
    return pixels // 64 * 64


@pytest.mark.parametrize(
    ("change", "pixels", "finish"),
    [
        (FullPerturbation(np.zeros((20, 20, 3), np.float32)), noise(20, 20), None),
        (
            MaskedPerturbation(FullPerturbation(field(20, 20)), np.zeros((20, 20), np.uint8)),
            noise(20, 20),
            None,
        ),
        (FullPerturbation(np.ones((20, 20, 3), np.float32)), np.full((20, 20, 3), 255, np.uint8), None),
        (FullPerturbation(field(20, 20)), noise(20, 20), posterised),
        (FullPerturbation(field(1, 1)), noise(1, 1), None),
    ],
    ids=["nothing to scale", "all transparent", "all clipped", "four levels", "one pixel"],
)
def test_what_cannot_be_met_gets_the_nearest_trial_and_says_what_it_met(
    change: FullPerturbation | MaskedPerturbation,
    pixels: np.ndarray,
    finish: Callable[[np.ndarray], np.ndarray] | None,
) -> None:
    strength, met = strength_for_psnr(pixels, change, 50.0, finish)
    assert np.isfinite(strength)
    assert abs(met - 50.0) > TOLERANCE
    done = finish or same
    assert image_quality.psnr(done(pixels), done(perturbed(pixels, change, strength))) == met


def test_the_nearest_of_two_levels_is_taken() -> None:
    """Every value moves by the same whole number of levels: 48.13 dB at one, 42.11 at two."""
    pixels, change = np.full((9, 9, 3), 128, np.uint8), FullPerturbation(np.ones((9, 9, 3), np.float32))
    for asked, levels in ((47.0, 1), (43.0, 2), (60.0, 1)):
        strength, met = strength_for_psnr(pixels, change, asked)
        assert met == pytest.approx(20 * np.log10(255 / levels))
        assert perturbed(pixels, change, strength)[0, 0, 0] == 128 + levels
