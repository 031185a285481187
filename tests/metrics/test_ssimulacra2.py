"""SSIMULACRA2 against libjxl's own program: its numbers for drawn pictures, and the program where it is."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from active_indexing.metrics import ssimulacra2 as module
from active_indexing.metrics.ssimulacra2 import ssimulacra2

# By ``ssimulacra2`` of Debian's libjxl-devtools 0.11.2-0.1~deb13u3, 2026-11-24, on the pictures below saved
# as PNG. Its recursive blur in float32 is coarser than ours, which it takes for damage in flat regions.
PROGRAM_SAYS = {
    ((150, 170), "grain"): 84.559,
    ((150, 170), "spots"): 78.173,
    ((150, 170), "darker"): 87.339,
    ((333, 251), "grain"): 83.27,
    ((333, 251), "spots"): 72.817,
    ((333, 251), "darker"): 87.863,
    ((41, 97), "grain"): 51.398,
    ((41, 97), "spots"): 87.395,
    ((41, 97), "darker"): 94.445,
}
FLAT_REGIONS = 0.8  # how much lower its answers may be, and 0.1 how much higher


def drawn(height: int, width: int) -> np.ndarray:
    """A smooth colourful ground, a disc and a fine grid."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack(
        [x * 200 / width + 20, y * 200 / height + 20, 128 + 60 * np.sin(x / 17 + y / 29)], axis=2
    )
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 4) ** 2
    ground[disc] = ground[disc][:, ::-1] * 0.7
    ground[(x // 3 + y // 5) % 7 == 0] *= 0.8
    return np.rint(ground).astype(np.uint8)


def damaged(pixels: np.ndarray, kind: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    change = {
        "grain": lambda: rng.normal(0, 3, pixels.shape),
        "spots": lambda: 8 * np.sin(x / 9)[..., None] * np.cos(y / 9)[..., None] * (1, -0.5, 0.2),
        "darker": lambda: np.full(pixels.shape, -6.0),
    }[kind]()
    return np.clip(np.rint(pixels + change), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("size", "kind"), PROGRAM_SAYS)
def test_it_says_what_the_program_of_its_author_says(size, kind):
    pixels = drawn(*size)
    found = ssimulacra2(pixels, damaged(pixels, kind))
    assert -0.1 <= found - PROGRAM_SAYS[size, kind] <= FLAT_REGIONS


@pytest.mark.skipif(shutil.which("ssimulacra2") is None, reason="libjxl's ssimulacra2 is not installed")
@pytest.mark.parametrize("kind", ["grain", "spots", "darker"])
def test_it_says_what_the_installed_program_says(tmp_path, kind):
    pixels = drawn(150, 170)
    for name, each in (("a", pixels), ("b", damaged(pixels, kind))):
        Image.fromarray(each).save(tmp_path / f"{name}.png")
    told = subprocess.run(
        ["ssimulacra2", tmp_path / "a.png", tmp_path / "b.png"], capture_output=True, text=True, check=True
    )
    assert -0.1 <= ssimulacra2(pixels, damaged(pixels, kind)) - float(told.stdout) <= FLAT_REGIONS


def test_equal_images_get_100_and_stronger_damage_gets_less():
    pixels = drawn(70, 90)
    assert ssimulacra2(pixels, pixels) == 100
    grain = np.random.default_rng(1).normal(0, 1, pixels.shape)
    scores = [
        ssimulacra2(pixels, np.clip(np.rint(pixels + strength * grain), 0, 255).astype(np.uint8))
        for strength in (1, 2, 4, 8, 16)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 100


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_images_too_small_for_any_scale_get_100(size):
    pixels = np.zeros((*size, 3), np.uint8)
    assert ssimulacra2(pixels, pixels + 9) == 100


@pytest.mark.parametrize("rows", [8, 9, 40, 41])
def test_bands_of_rows_give_what_the_whole_gives(monkeypatch, rows):
    """Of rows that lie across the bands' borders, as of all others."""
    pixels = drawn(120, 64)
    whole = ssimulacra2(pixels, damaged(pixels, "spots"))
    monkeypatch.setattr(module, "_BAND_PIXELS", 64 * rows)
    assert ssimulacra2(pixels, damaged(pixels, "spots")) == pytest.approx(whole, abs=1e-3)


def test_a_share_of_the_bands_stands_for_all_in_large_images(monkeypatch):
    pixels = drawn(400, 300)
    all_bands = ssimulacra2(pixels, damaged(pixels, "grain"))
    monkeypatch.setattr(module, "SAMPLED", 400 * 300 // 3)
    assert ssimulacra2(pixels, damaged(pixels, "grain")) == pytest.approx(all_bands, abs=1.0)


def test_the_blur_is_nearly_a_gaussian_of_1_5_pixels():
    offsets = np.arange(-4, 5)
    kernel = np.concatenate([module._KERNEL[:0:-1], module._KERNEL])
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert kernel @ offsets**2 == pytest.approx(module.BLUR_SIGMA**2, abs=0.01)
    gaussian = np.exp(-0.5 * (offsets / module.BLUR_SIGMA) ** 2)
    assert np.abs(kernel - gaussian / gaussian.sum()).max() < 0.01


def test_it_takes_two_images_of_one_size():
    with pytest.raises(ValueError, match="differ in size"):
        ssimulacra2(drawn(20, 30), drawn(30, 20))
    with pytest.raises(ValueError, match="must be \\(H, W, 3\\) uint8"):
        ssimulacra2(drawn(20, 30)[..., 0], drawn(20, 30))
