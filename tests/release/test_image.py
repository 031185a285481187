"""Images as publishers have them, from the command line to the released files."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from active_indexing.cli import main
from active_indexing.images import decoding
from active_indexing.images.encoding import format_of
from active_indexing.metrics import image_quality
from tests.conftest import Toy, pattern
from tests.data import icc
from tests.runs import flags, released, settings_of, stamps, tables

RNG = np.random.default_rng(0)
ALPHA = np.repeat(np.array([0, 0, 60, 180, 255, 255], dtype=np.uint8), 8)  # columns of a 48 x 48 image


def colour(height: int = 40, width: int = 48) -> Image.Image:
    return Image.fromarray(pattern(RNG, 64, 64)[:height, :width])


def transparent() -> Image.Image:
    image = colour(48, 48).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(ALPHA, (48, 1))))
    return image


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    return encoded(colour(), "JPEG", exif=exif, quality=95)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 40,000 x 40,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@cache
def good_files() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Name -> (content, width and height when upright)."""
    grey = colour().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    plain = (48, 40)
    return {
        "turned.jpg": (turned(), (40, 48)),
        "wide_gamut.jpg": (encoded(colour(), "JPEG", icc_profile=icc.adobe_rgb()), plain),
        "transparent.png": (encoded(transparent(), "PNG"), (48, 48)),
        "palette.png": (encoded(colour().convert("P"), "PNG"), plain),
        "grey.png": (encoded(grey, "PNG"), plain),
        "grey 16 bit.tif": (encoded(deep, "TIFF"), plain),
        "press.jpg": (encoded(colour().convert("CMYK"), "JPEG"), plain),
        "a.webp": (encoded(transparent(), "WEBP", lossless=True, exact=True), (48, 48)),
        "a.avif": (encoded(colour(), "AVIF"), plain),
        "a.jpg": (encoded(colour(), "JPEG"), plain),
        "b.png": (encoded(colour(), "PNG"), plain),
        "b.jpg": (encoded(colour(), "JPEG"), plain),
        "C.jpg": (encoded(colour(), "JPEG"), plain),
        "c.jpg": (encoded(colour(), "JPEG"), plain),
        'nested/été/日本, "1".tiff': (encoded(colour(), "TIFF"), plain),
        "pixel.png": (encoded(colour(1, 1), "PNG"), (1, 1)),
        "line.png": (encoded(colour(1, 48), "PNG"), (48, 1)),
    }


@cache
def bad_files() -> dict[str, tuple[bytes, str]]:
    """Name -> (content, a part of the reason)."""
    whole = encoded(colour(64, 64), "JPEG")
    frames = [colour() for _ in range(3)]
    return {
        "text.jpg": (b"To whom it may concern", "not a readable image in a supported format"),
        "cut.jpg": (whole[: len(whole) // 2], "truncated"),
        "moving.gif": (
            encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            "animated: 3 frames",
        ),
        "bomb.png": (bomb(), "more than the limit of"),
        "empty.png": (b"", "the file is empty"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("publisher") / "photos"
    for name, (content, _) in (good_files() | bad_files()).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "C.jpg").samefile(root / "c.jpg") and pytest.skip("a file system that ignores case")
    return root


def digests(root: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def output(folder: Path, toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = settings_of(toy, folder.parent / "indexes") | {
        "data_dir": folder,
        "output_dir": folder.parent / "out",
        "verbose": 1,
    }
    before = digests(folder)
    captured = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", captured)
        patch.setattr("sys.stderr", io.StringIO())
        assert main.main(flags(settings)) == 0
    assert digests(folder) == before
    (folder.parent / "told.txt").write_text(captured.getvalue())
    return folder.parent / "out"


@pytest.fixture(scope="module")
def manifest(output: Path, folder: Path) -> pd.DataFrame:
    table = pd.read_csv(output / "manifest.csv")
    table["name"] = [Path(source).relative_to(folder).as_posix() for source in table["source"]]
    return table.set_index("name")


def test_every_input_has_one_row_in_the_order_of_their_names(manifest: pd.DataFrame) -> None:
    assert manifest.index.tolist() == sorted(good_files() | bad_files())


def test_what_cannot_be_treated_safely_is_skipped_with_its_reason(manifest: pd.DataFrame) -> None:
    skipped = manifest[manifest["status"] == "skipped"]
    assert set(skipped.index) == set(bad_files())
    for name, (_, reason) in bad_files().items():
        assert reason in skipped["reason"][name]
    assert skipped[["released", "width", "psnr", "linf", "cell_after"]].isna().all(axis=None)


def test_the_exit_message_counts_the_skipped(output: Path) -> None:
    told = (output.parent / "told.txt").read_text()
    assert told.startswith("active: 17 images released, 5 skipped (manifest.csv says why)")


@pytest.mark.parametrize("name", good_files())
def test_a_released_file_has_the_size_alpha_and_profile_of_its_input(
    name: str, manifest: pd.DataFrame, output: Path, folder: Path
) -> None:
    row = manifest.loc[name]
    assert row["status"] == "released", row["reason"]
    before, after = decoding.read(folder / name), decoding.read(output / row["released"])
    assert (row["width"], row["height"]) == good_files()[name][1]
    assert after.native.shape == before.native.shape == (row["height"], row["width"], 3)
    assert after.metadata.icc_profile == before.metadata.icc_profile
    if before.alpha is None:
        assert after.alpha is None
        assert name in ("pixel.png", "line.png") or (after.native != before.native).any()
    else:
        np.testing.assert_array_equal(after.alpha, before.alpha)
        hidden = before.alpha == 0
        np.testing.assert_array_equal(after.native[hidden], before.native[hidden])
        assert (after.native[~hidden] != before.native[~hidden]).any()
    assert row["linf"] == int(np.abs(after.native.astype(int) - before.native).max()) < 60


def test_no_two_inputs_share_a_released_file(manifest: pd.DataFrame, output: Path) -> None:
    found = manifest["released"].dropna()
    assert found.str.casefold().is_unique
    on_disk = {path.relative_to(output).as_posix() for path in (output / "imgs").rglob("*") if path.is_file()}
    assert set(found) == on_disk
    assert found["b.png"] == "imgs/b.png"
    assert found["b.jpg"] == "imgs/b.jpg.png"
    assert found['nested/été/日本, "1".tiff'] == 'imgs/nested/été/日本, "1".png'


def test_what_decoding_had_to_change_is_noted(manifest: pd.DataFrame) -> None:
    assert "turned upright" in manifest["reason"]["turned.jpg"]
    assert "16-bit" in manifest["reason"]["grey 16 bit.tif"]
    assert "CMYK" in manifest["reason"]["press.jpg"]
    assert [told_of_file(manifest["reason"][name]) for name in ("a.jpg", "grey.png")] == ["", ""]


def told_of_file(reason: str | float) -> str:
    """What a reason says about the file, without how well the image can be protected."""
    parts = str(reason).replace("nan", "").split("; ")
    return "; ".join(
        part
        for part in parts
        if not re.match(r"hard to protect|\S+ dB instead of|the file is \S+ times", part)
    )


def test_released_images_are_the_ones_evaluated(manifest: pd.DataFrame, output: Path) -> None:
    table = pd.read_csv(output / "retr_df.csv")
    assert set(table["image_index"]) == set(manifest.query("status == 'released'")["id"])
    clean = table[table["attack"] == "none"].set_index("image_index")
    assert (clean["r@100"] == 1).mean() > 0.9
    for text in tables(output).values():
        header, *rows = text.splitlines()
        assert rows or header.startswith("stage")


def test_one_image_may_be_given_instead_of_a_folder(folder: Path, toy: Toy, tmp_path: Path) -> None:
    settings = settings_of(toy, folder.parent / "indexes", eval_icd=False, eval_retrieval=False)
    argv = flags(settings | {"data_dir": folder / "a.webp", "output_dir": tmp_path})
    assert main.main(argv) == 0
    (row,) = pd.read_csv(tmp_path / "manifest.csv").to_dict("records")
    assert row["released"] == "imgs/a.png"


@pytest.fixture(scope="module")
def mixed(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a quick run on one image of each kind."""
    root = tmp_path_factory.mktemp("mixed")
    kinds = {
        "photo.jpg": encoded(colour(), "JPEG", quality=83, subsampling="4:4:4"),
        "scan.JPEG": encoded(colour().convert("L"), "JPEG", quality=70, progressive=True),
        "photo.png": encoded(colour(), "PNG"),
        "logo.png": encoded(transparent(), "PNG"),
        "logo.jpg": encoded(transparent(), "PNG"),  # content and name differ
        "shot.webp": encoded(colour(), "WEBP", lossless=True),
        "web/lossy.webp": encoded(transparent(), "WEBP", quality=80),
        "old.bmp": encoded(colour(), "BMP"),
        "broken.jpg": b"no image",
    }
    for name, content in kinds.items():
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "photos" / name).write_bytes(content)
    quick = {"eval_retrieval": False, "eval_icd": False, "data_dir": root / "photos"}
    return settings_of(toy, root / "indexes") | quick


MIXED_NAMES = {
    "png": "photo.jpg.png scan.png photo.png logo.png logo.jpg.png shot.png web/lossy.png old.png",
    "jpeg": "photo.jpg scan.JPEG photo.png.jpg logo.png logo.jpg.png shot.jpg web/lossy.webp.png old.jpg",
    "webp": "photo.jpg.webp scan.webp photo.png.webp logo.png.webp logo.jpg.webp shot.webp web/lossy.webp "
    "old.webp",
    "same": "photo.jpg scan.JPEG photo.png logo.png logo.jpg.png shot.webp web/lossy.webp old.png",
}


AS_PNG = {"png": "", "jpeg": "logo.png logo.jpg.png lossy.webp.png", "webp": "", "same": "logo.jpg.png"}


@pytest.mark.parametrize("save_format", MIXED_NAMES)
def test_a_mixed_folder_is_released_in_every_format(
    mixed: dict[str, Any], save_format: str, tmp_path: Path
) -> None:
    argv = flags(mixed | {"output_dir": tmp_path, "save_format": save_format})
    assert main.main(argv) == 0
    untouched = mixed | {"output_dir": tmp_path / "passive", "save_format": save_format, "active": False}
    assert main.main(flags(untouched)) == 0
    rows = pd.read_csv(tmp_path / "manifest.csv").set_index("source")
    assert released(tmp_path).keys() == set(MIXED_NAMES[save_format].split())
    for source, row in rows[rows["status"] == "released"].iterrows():
        before, path = decoding.read(Path(str(source))), tmp_path / row["released"]
        after = decoding.read(path)
        assert after.file.format.lower() == format_of(path.name)
        plain = decoding.read(tmp_path / "passive" / row["released"]).native
        assert row["psnr"] == pytest.approx(image_quality.psnr(plain, after.native))
        assert row["linf"] == image_quality.linf(plain, after.native)
        assert row["ssimulacra2"] >= 80
        expected = "released as PNG: JPEG holds no transparency" if path.name in AS_PNG[save_format] else ""
        assert told_of_file(row["reason"]) == expected
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha)
    assert rows["status"][str(mixed["data_dir"] / "broken.jpg")] == "skipped"
    before = stamps(tmp_path)
    assert main.main(argv) == 0
    assert stamps(tmp_path) == before


def test_released_jpegs_have_the_tables_of_their_sources(mixed: dict[str, Any], tmp_path: Path) -> None:
    assert main.main(flags(mixed | {"output_dir": tmp_path, "save_format": "same"})) == 0
    for name in ("photo.jpg", "scan.JPEG"):
        with Image.open(mixed["data_dir"] / name) as before, Image.open(tmp_path / "imgs" / name) as after:
            assert after.quantization == before.quantization  # type: ignore[attr-defined]
            assert after.layer == before.layer  # type: ignore[attr-defined]
            assert after.info.get("progressive") == before.info.get("progressive")
    assert decoding.read(tmp_path / "imgs" / "shot.webp").file.lossless
    assert not decoding.read(tmp_path / "imgs" / "web" / "lossy.webp").file.lossless


def test_a_quality_is_that_of_every_lossy_release(mixed: dict[str, Any], tmp_path: Path) -> None:
    argv = flags(mixed | {"output_dir": tmp_path, "save_format": "same", "save_quality": 35})
    assert main.main(argv) == 0
    wanted = decoding.read_bytes(encoded(colour(), "JPEG", quality=35)).file
    assert decoding.read(tmp_path / "imgs" / "photo.jpg").file == wanted
    assert decoding.read(tmp_path / "imgs" / "shot.webp").file.lossless


def test_a_graphic_that_grows_as_png_is_told_and_a_photo_is_not(
    mixed: dict[str, Any], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    graphic = Image.fromarray(RNG.integers(0, 4, (64, 64), dtype=np.uint8), "P")  # two bits a pixel
    graphic.putpalette([20, 60, 90, 200, 40, 10, 90, 220, 40, 240, 230, 20])
    graphic.save(photos / "chart.png", optimize=True)
    graphic.save(photos / "chart.gif")
    colour().save(photos / "photo.png")
    colour().save(photos / "photo.jpg")  # as a PNG it grows too, as every JPEG does
    assert main.main(flags(mixed | {"data_dir": photos, "output_dir": tmp_path / "out"})) == 0
    rows = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False).set_index("source")
    for name in ("chart.png", "chart.gif"):
        row = rows.loc[str(photos / name)]
        before, after = (photos / name).stat().st_size, (tmp_path / "out" / row["released"]).stat().st_size
        assert after > 1.5 * before
        told = f"the file is {after / before:.1f} times as large ({before:,} to {after:,} bytes)"
        assert told in row["reason"].split("; ")
    for name in ("photo.png", "photo.jpg"):
        assert "times as large" not in rows["reason"][str(photos / name)]
