from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from active_indexing.activation.perturbation.blotches import Blotches, gaussian
from active_indexing.metrics.butteraugli import butteraugli, installed


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


PHOTO = data.astronaut()[60:220, 140:340].copy()


def spotted(strength: float) -> np.ndarray:
    y, x = np.mgrid[:160, :200]
    spot = strength * np.exp(-((y - 80) ** 2 + (x - 120) ** 2) / (2 * 6.0**2))
    return np.rint(PHOTO + spot[..., None] * (1.0, -0.3, 1.0)).clip(0, 255).astype(np.uint8)


def test_it_is_nothing_for_equal_images_and_grows_with_the_change() -> None:
    judge = Blotches(tensor(PHOTO), 1.0)
    assert not judge.distances(tensor(PHOTO)).any()
    worst = [float(judge.distances(tensor(spotted(each))).max()) for each in (4, 8, 16)]
    assert worst == sorted(worst)
    assert worst[0] > 0


def test_only_the_spot_is_toned_down_and_to_the_limit() -> None:
    judge, moved = Blotches(tensor(PHOTO), 1.0), tensor(spotted(24))
    factors = judge.toned_down(moved, 1.0)
    assert factors[0, 0, 80, 120] < 0.7
    assert factors[0, 0, :20].min() == 1
    after = tensor(PHOTO) + factors * (moved - tensor(PHOTO))
    assert float(judge.distances(after).max()) < 1.25
    assert float(judge.distances(moved).max()) > 1.5


def test_it_has_a_gradient_also_at_black() -> None:
    black = torch.zeros(1, 3, 20, 20)
    moved = (black + 0.01).requires_grad_(True)
    Blotches(black, 0.5).distances(moved).sum().backward()
    assert moved.grad is not None
    assert bool(moved.grad.isfinite().all())


@pytest.mark.parametrize("sigma", [0.6, 1.5, 4.0])
def test_the_gaussian_is_that_of_scipy(sigma: float) -> None:
    plane = np.random.default_rng(0).random((30, 41))
    found = gaussian(torch.from_numpy(plane)[None, None], sigma)[0, 0].numpy()
    assert found == pytest.approx(gaussian_filter(plane, sigma, mode="nearest", truncate=3.3), abs=2e-3)


def test_a_gaussian_of_less_than_half_a_pixel_does_nothing() -> None:
    plane = torch.rand(1, 2, 5, 6)
    assert gaussian(plane, 0.49) is plane


@pytest.mark.skipif(not installed(), reason="libjxl's butteraugli_main is not installed")
@pytest.mark.parametrize("strength", [6, 12, 24])
def test_it_is_near_butteraugli(strength: float) -> None:
    modelled = float(Blotches(tensor(PHOTO), 1.0).distances(tensor(spotted(strength))).max())
    asked = butteraugli(PHOTO, spotted(strength)).largest
    assert 0.5 < modelled / asked < 2
