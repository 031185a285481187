"""Pictures in, pictures out, against the command line and against files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import active_indexing
from active_indexing import Index, ReleasedImage
from active_indexing.artefacts.journal import newest_items
from active_indexing.cli import main
from active_indexing.images import decoding
from active_indexing.metrics import image_quality
from tests.conftest import Toy, pattern
from tests.runs import flags, settings_of

FACTORY = "IVF4,PQ4x4"
QUICK = {"iterations": 2}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return pattern(np.random.default_rng(7), 40, 48)


def opened(toy: Toy, source: Path | str = FACTORY, **more: Any) -> Index:
    chosen = {"training": toy.training} if source == FACTORY else {}
    return Index(
        source,
        **chosen | more,
        model_name="torchscript",
        model_path=toy.model,
        resize_size=toy.size,
        device="cpu",
    )


@pytest.fixture(scope="module")
def index(toy: Toy) -> Index:
    return opened(toy)


def turned_jpeg(pixels: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=90)
    return file.getvalue()


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(2, 0, 1)


def test_every_form_of_an_image_has_one_descriptor(index: Index, pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    planes = bits(torch.from_numpy(pixels.copy()))
    forms = [
        path,
        str(path),
        path.read_bytes(),
        Image.open(path),
        pixels,
        planes,
        planes / 255,
        planes.double() / 255,
    ]
    together = active_indexing.describe(forms, index)
    assert together.shape == (len(forms), index.descriptor.dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for form, one in zip(forms, together, strict=True):
        np.testing.assert_array_equal(one, together[0])
        np.testing.assert_array_equal(active_indexing.describe(form, index), together[0])


def test_an_image_of_pillow_is_turned_as_its_file_is(index: Index, pixels: np.ndarray) -> None:
    content = turned_jpeg(pixels)
    upright = decoding.read_bytes(content).srgb
    assert upright.shape == (48, 40, 3)
    released = active_indexing.baseline(Image.open(io.BytesIO(content)), index)
    np.testing.assert_array_equal(released.pixels, upright)


def test_the_bytes_are_those_of_the_command_line(toy: Toy, pixels: np.ndarray, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "photo.jpg").write_bytes(turned_jpeg(pixels))
    Image.fromarray(pixels).convert("RGBA").save(photos / "logo.png")
    further: dict[str, Any] = {"seed": 5, "save_format": "same", "entries": 2}
    settings = settings_of(toy, tmp_path / "indexes", eval_retrieval=False, eval_icd=False, **further)
    argv = {**settings, "data_dir": photos, "output_dir": tmp_path / "out"}
    del argv["fts_reference_path"]
    assert main.main(flags(argv)) == 0
    rows = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False).set_index("source")
    (stored,) = (tmp_path / "indexes").glob("*.index")
    index = opened(toy, stored)
    for path in photos.iterdir():
        row = rows.loc[str(path)]
        for given in (path, str(path)):
            released = active_indexing.activate(given, index, **QUICK, **further)
            assert released.content == (tmp_path / "out" / row["released"]).read_bytes()
            assert released.id == row["id"]
        assert released.format == row["released"].split(".")[-1].replace("jpg", "jpeg")
        assert released.quality.ssimulacra2 == pytest.approx(float(row["ssimulacra2"]))
        assert (released.cell_before, released.cell_after) == (row["cell_before"], row["cell_after"])
        assert released.notes == tuple(note for note in row["reason"].split("; ") if note)
    items = newest_items(tmp_path / "out" / ".journal" / "release.jsonl")
    assert str(released.id) in items
    assert not {path.name for path in tmp_path.iterdir()} - {"photos", "out", "indexes"}


def test_an_array_with_the_id_of_a_file_is_released_as_that_file(
    index: Index, pixels: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    first = active_indexing.activate(tmp_path / "a.png", index, **QUICK)
    for form in (pixels, Image.fromarray(pixels), bits(torch.from_numpy(pixels.copy()))):
        again = active_indexing.activate(form, index, image_id=first.id, **QUICK)
        assert again.content == first.content
        np.testing.assert_array_equal(again.entries, first.entries)
    other = active_indexing.activate(pixels, index, image_id=3, **QUICK)
    assert (other.id, other.content == first.content) == (3, False)


def test_the_figures_are_those_of_the_pixels(index: Index, pixels: np.ndarray, tmp_path: Path) -> None:
    released = active_indexing.activate(pixels, index, entries=3, **QUICK)
    assert isinstance(released, ReleasedImage)
    assert released.entries.shape == (3, index.descriptor.dim)
    assert released.quality.psnr == image_quality.psnr(pixels, released.pixels)
    assert released.quality.linf == np.abs(pixels.astype(int) - released.pixels).max() > 0
    np.testing.assert_array_equal(np.asarray(released.image), released.pixels)
    after = active_indexing.describe(released.content, index)
    assert released.cell_after == index.searched.cells(after[None])[0]  # type: ignore[index]
    released.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == released.content
    passive = active_indexing.baseline(pixels, index)
    np.testing.assert_array_equal(passive.pixels, pixels)
    assert passive.quality.psnr == float("inf")
    with pytest.raises(ValueError, match=r"the released file is png, and .*out\.jpg does not end like one"):
        released.save(tmp_path / "out.jpg")


def test_entries_are_found_under_their_ids_also_after_saving(toy: Toy, tmp_path: Path) -> None:
    index = opened(toy, nprobe=4)
    assert (len(index), 5 in index) == (0, False)
    rng = np.random.default_rng(3)
    pictures = [pattern(rng, 40, 40) for _ in range(6)]
    for number, picture in enumerate(pictures[:3]):
        released = active_indexing.activate(picture, index, image_id=10 + number, entries=2, **QUICK)
        index.add(released.entries, released.id)
    index.add(pictures[3], 5)
    index.add(pictures[4:], [6, 7])
    assert len(index) == 9
    assert all(number in index for number in (5, 6, 7, 10, 11, 12))
    index.save(tmp_path / "mine.index")
    again = opened(toy, tmp_path / "mine.index", nprobe=4)
    assert repr(again) == f"Index({FACTORY}, L2, {index.descriptor.name}, 9 entries)"
    for searched in (index, again):
        answers = searched.search(pictures, k=6)
        assert [int(answer.ids[0]) for answer in answers] == [10, 11, 12, 5, 6, 7]
        assert sorted(answers[0].ids) == [5, 6, 7, 10, 11, 12]  # each id once
        (one,) = searched.search(active_indexing.describe(pictures[1], index))
        assert one.ids.tolist() == [11]
    with pytest.raises(ValueError, match="entries of id 7 already; choose another id"):
        again.add(pictures[0], 7)


def test_an_index_without_training_or_of_a_trained_file(toy: Toy, pixels: np.ndarray, tmp_path: Path) -> None:
    flat = opened(toy, "Flat")
    flat.add(pixels, 2**63 - 1)
    assert flat.search(pixels)[0].ids.tolist() == [2**63 - 1]
    assert 2**63 - 1 in flat
    released = active_indexing.activate(pixels, flat, method="published", iterations=1)
    assert (released.cell_before, released.cell_after) == (None, None)
    with pytest.raises(ValueError, match="Flat does not keep ids"):
        flat.save(tmp_path / "flat.index")
    assert list(tmp_path.iterdir()) == []
    of_array = opened(toy, "IVF4,Flat", training=np.load(toy.training))
    assert repr(of_array).startswith("Index(IVF4,Flat, L2, ")


def test_a_picture_is_never_a_setting_of_other_pictures(index: Index, pixels: np.ndarray) -> None:
    before = len(index)
    first = active_indexing.activate(pixels, index, **QUICK)
    active_indexing.activate(pixels[:, ::-1].copy(), index, **QUICK)
    assert active_indexing.activate(pixels, index, **QUICK).content == first.content
    assert len(index) == before


WRONG_PICTURES = {
    "array": (
        np.zeros((4, 4, 3)),
        ValueError,
        r"an array \(H, W, 3\) of uint8 sRGB; got float64 \(4, 4, 3\)",
    ),
    "grey": (np.zeros((4, 4), np.uint8), ValueError, r"got uint8 \(4, 4\)"),
    "batch": (
        torch.zeros(2, 3, 4, 4),
        ValueError,
        r"a tensor \(3, H, W\); got \(2, 3, 4, 4\): give images one",
    ),
    "normalised": (torch.full((3, 4, 4), -1.5), ValueError, r"values in \[0, 1\], not normalised"),
    "nan": (torch.full((3, 4, 4), float("nan")), ValueError, r"values in \[0, 1\]"),
    "int": (torch.zeros(3, 4, 4, dtype=torch.int64), ValueError, "uint8, or of floats .*; got torch.int64"),
    "nothing": (None, TypeError, "an image is a path, the bytes of a file, .*; got a NoneType"),
    "text": (b"To whom it may concern", ValueError, "not a readable image in a supported format"),
    "absent": ("nowhere.jpg", ValueError, "no such file"),
    "float image": (Image.new("F", (4, 4)), ValueError, "Pillow's mode F has no agreed range of values"),
}


@pytest.mark.parametrize("name", WRONG_PICTURES)
def test_what_is_no_picture_is_told_with_what_was_expected(name: str, index: Index) -> None:
    picture, kind, message = WRONG_PICTURES[name]
    with pytest.raises(kind, match=message):
        active_indexing.activate(picture, index)
    with pytest.raises(kind, match=message):
        active_indexing.describe(picture, index)


def test_what_does_not_fit_is_told_with_what_was_expected(
    toy: Toy, index: Index, pixels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(
        TypeError, match=r"a picture goes with an active_indexing\.Index, got a str: activate"
    ):
        active_indexing.activate(pixels, "release")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="a folder, not an image file"):
        active_indexing.activate(tmp_path, index)
    with pytest.raises(
        TypeError, match=r"unknown settings iteration; of a picture there are entries, .*iterations"
    ):
        active_indexing.activate(pixels, index, iteration=3)
    with pytest.raises(ValueError, match=r"image_id must be from 0 to 2\*\*63 - 1, got -1"):
        active_indexing.activate(pixels, index, image_id=-1)
    with pytest.raises(ValueError, match="--save_quality is for JPEG and WebP"):
        active_indexing.activate(pixels, index, save_quality=80)
    with pytest.raises(ValueError, match=r"ids are whole numbers from 0 to 2\*\*63 - 1; got -4"):
        index.add(pixels, -4)
    with pytest.raises(ValueError, match="got 1 descriptors but 2 ids"):
        index.add(pixels, [1, 2])
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(pixels, k=0)
    with pytest.raises(ValueError, match=r"query descriptors have shape \(1, 3\)"):
        index.search(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"must be trained: give training= an array \(N, 64\)"):
        opened(toy, "IVF8,Flat")
    with pytest.raises(ValueError, match="training= is for an index from a factory string"):
        Index(training=toy.training)
    with pytest.raises(FileNotFoundError, match=r"gone\.index does not exist; give the .index file"):
        opened(toy, tmp_path / "gone.index")
    with pytest.raises(ValueError, match=r"saved under a name that ends in \.index; got index.faiss"):
        index.save("index.faiss")
    with pytest.raises(AttributeError, match="no attribute 'activte'"):
        _ = active_indexing.activte  # type: ignore[attr-defined]


def test_an_index_of_another_descriptor_is_refused(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path / "toy.index")
    with pytest.raises(ValueError, match="was made with another dim and descriptor than this run's"):
        Index(tmp_path / "toy.index", device="cpu")
