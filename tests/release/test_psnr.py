"""What a method's results become in released files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from active_indexing.activation.interface import ActivationContext, ActivationJob, ActivationResult, Method
from active_indexing.activation.perturbation.scaling import MISS, FullPerturbation
from active_indexing.config import configure
from active_indexing.images import decoding
from active_indexing.metrics import image_quality
from active_indexing.records import SourceImage
from active_indexing.release.image import FELL_SHORT, ImageReleaser, Released
from tests.activation.worlds import described, descriptor, index_of, picture

PHOTOS = {name: picture(number, 96, 120) for number, name in enumerate(("a", "b", "c"))} | {
    "noise": np.random.default_rng(0).integers(60, 200, (96, 96, 3)).astype(np.uint8)
}


def releaser(tmp_path: Path, **settings: Any) -> ImageReleaser:
    quick = {"iterations": 2, "views": 1, "entry_views": 2, "data_dir": tmp_path, "output_dir": tmp_path}
    config = configure(**(quick | settings))
    return ImageReleaser(config.release, config.activation, descriptor(), index_of(), tmp_path / "imgs")


def released(
    tmp_path: Path, pixels: np.ndarray, ending: str = "png", number: int = 0, **settings: Any
) -> Released:
    source = tmp_path / f"photo{number}.png"
    Image.fromarray(pixels).save(source)
    return releaser(tmp_path, **settings).release(
        SourceImage(number, source, source.name), (f"photo{number}.{ending}",)
    )


def decibels(tmp_path: Path, name: str, ending: str, number: int = 0) -> float:
    """Measured here, on the file, against the same picture encoded without activation."""
    passive = released(
        tmp_path / "passive", PHOTOS[name], ending, number, active=False, save_format=FORMATS[ending]
    )
    pair = [
        decoding.read(root / "imgs" / f"photo{number}.{ending}").native
        for root in (tmp_path / "passive", tmp_path)
    ]
    assert passive.row.status == "released"
    return image_quality.psnr(*pair)


FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}


@pytest.mark.parametrize(("method", "asked"), [("robust", 42.0), ("published", 38.0)])
@pytest.mark.parametrize("ending", FORMATS)
def test_the_decibels_asked_for_are_those_of_the_file(
    tmp_path: Path, method: str, ending: str, asked: float
) -> None:
    (tmp_path / "passive").mkdir()
    for number, name in enumerate(PHOTOS):
        settings = {"save_format": FORMATS[ending], "method": method, "psnr": asked}
        row = released(tmp_path, PHOTOS[name], ending, number, **settings).row
        assert row.psnr == decibels(tmp_path, name, ending, number)
        if "dB less" in row.reason:
            continue
        told = [part for part in row.reason.split("; ") if "dB instead of" in part]
        if ending == "png":
            assert not told
        assert bool(told) == (abs(row.psnr - asked) > MISS)
        # Lossy encoders answer to a stronger change in jumps, largest in small pictures of noise; then the
        # weaker change is taken.
        assert (
            asked - (0.1 if ending == "png" else 1.0) <= row.psnr <= asked + (0.1 if ending == "png" else 2.0)
        )


def test_published_without_decibels_is_as_strong_as_its_scaling(tmp_path: Path) -> None:
    found = [
        released(tmp_path, PHOTOS["a"], number=number, method="published", **settings).row.psnr
        for number, settings in enumerate(
            (
                {"scaling": 1.0},
                {"scaling": 3.0},
                {"scaling": 1.0, "psnr": 40.0},
                {"scaling": 3.0, "psnr": 40.0},
            )
        )
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] > found[1] + 5
    assert found[2:] == pytest.approx([40, 40], abs=0.1)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((40, 50, 3), 200, np.uint8), "hard to protect: nearly flat, so it is changed"),
        (np.full((1, 1, 3), 7, np.uint8), "hard to protect: nearly flat, so it is changed"),
        (PHOTOS["a"][:1], ""),
        (PHOTOS["a"][:5, :3], ""),
    ],
    ids=["flat", "1x1", "1x120", "5x3"],
)
def test_flat_and_tiny_pictures_are_released_with_a_word_of_warning(
    tmp_path: Path, pixels: np.ndarray, reason: str
) -> None:
    done = released(tmp_path, pixels, method="robust", psnr=42.0)
    assert done.row.status == "released"
    assert reason in done.row.reason
    assert done.entries is not None
    assert np.isfinite(done.entries).all()
    assert decoding.read(tmp_path / "imgs" / "photo0.png").native.shape == pixels.shape
    assert done.row.psnr is not None
    assert done.row.psnr > 41.9


@pytest.mark.parametrize("method", ["perceptual", "robust", "published"])
def test_transparent_pixels_stay_as_they_are(tmp_path: Path, method: str) -> None:
    alpha = np.zeros((96, 120), np.uint8)
    alpha[:, 40:] = np.linspace(1, 255, 80).astype(np.uint8)
    done = released(tmp_path, np.dstack([PHOTOS["a"], alpha]), method=method, psnr=42.0)
    after = decoding.read(tmp_path / "imgs" / "photo0.png")
    assert np.array_equal(after.alpha, alpha)
    assert np.array_equal(after.native[:, :40], PHOTOS["a"][:, :40])
    assert not np.array_equal(after.native[:, 40:], PHOTOS["a"][:, 40:])
    assert done.row.psnr == pytest.approx(42, abs=0.1)


def test_what_the_index_should_hold_is_the_methods_choice(tmp_path: Path) -> None:
    rows = [
        released(tmp_path, PHOTOS["a"], number=n, method=m).entries
        for n, m in enumerate(("robust", "published"))
    ]
    passive = released(tmp_path, PHOTOS["a"], number=2, active=False).entries
    assert rows[0] is not None
    assert rows[1] is not None
    assert passive is not None
    assert np.array_equal(rows[1], passive)
    assert not np.allclose(rows[0], passive, atol=1e-2)


def reaching(job: ActivationJob, context: ActivationContext, *, far: bool) -> ActivationResult:
    """An entry that lies in the image's cell or the other way, beside a change of 50 dB."""
    noise = np.random.default_rng(0).normal(size=job.srgb.shape).astype(np.float32)
    entry = (-1 if far else 0.5) * job.original
    cells = context.index.cells(np.stack([entry, job.original]))
    assert cells is not None
    assert (cells[0] != cells[1]) == far
    return ActivationResult(FullPerturbation(noise), entry.astype(np.float32), psnr=50.0)


FAR = Method(lambda jobs, context: [reaching(job, context, far=True) for job in jobs])
NEAR = Method(lambda jobs, context: [reaching(job, context, far=False) for job in jobs])


def test_a_file_that_did_not_reach_the_cell_of_its_entry_is_its_own_entry(tmp_path: Path) -> None:
    done = released(tmp_path, PHOTOS["a"], method=f"{__name__}:FAR")
    own = described(decoding.read(tmp_path / "imgs" / "photo0.png").srgb, descriptor())
    assert done.entries is not None
    np.testing.assert_allclose(done.entries[0], own, atol=1e-6)
    assert done.row.reason == FELL_SHORT
    index = index_of("IVF8,Flat")
    index.add(done.entries, np.array([900]))
    assert index.search(own[None], 1)[0].ids.tolist() == [900]


def test_an_entry_that_the_file_reaches_is_kept(tmp_path: Path) -> None:
    done = released(tmp_path, PHOTOS["a"], method=f"{__name__}:NEAR")
    assert done.entries is not None
    assert np.linalg.norm(done.entries[0]) == pytest.approx(0.5)
    assert done.row.reason == ""
