"""Pictures as bytes in every format, and what is kept of a source's own compression."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from active_indexing.images import decoding
from active_indexing.images.encoding import (
    DEFAULT_QUALITY,
    Encoding,
    ReleasePlan,
    encode,
    encoding_for,
    format_of,
)
from active_indexing.images.encoding import plan as planned
from active_indexing.images.picture import Metadata, Picture
from active_indexing.images.source_encoding import SourceFile
from active_indexing.metrics.image_quality import psnr
from tests.conftest import pattern
from tests.data import icc

ORIENTATION, MAKE, X_RESOLUTION = 0x0112, 0x010F, 0x011A
PNG, LOSSLESS = Encoding(format="png"), Encoding(format="webp", lossless=True)
JPEG, WEBP = Encoding(format="jpeg", quality=90), Encoding(format="webp", quality=90)
FINE = tuple(tuple(range(start, start + 64)) for start in (1, 5))  # made-up tables


def random_rgb(height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    return pattern(np.random.default_rng(1), height, width)


def file_of(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def released(content: bytes, name: str, **options: object) -> tuple[ReleasePlan, bytes]:
    """The file that a source file becomes, unchanged."""
    picture = decoding.read_bytes(content)
    plan = planned(picture, [name, "spare.png"], **options)
    return plan, encode(picture.native, picture.alpha, plan.metadata, plan.encoding)


# Encoding


@pytest.mark.parametrize("encoding", [PNG, LOSSLESS], ids=["png", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (64, 33)])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_what_is_encoded_without_loss_is_read_back_to_the_bit(encoding, size, with_alpha):
    native = random_rgb(*size)
    alpha = random_rgb(*size, seed=2)[..., 0] if with_alpha else None
    picture = decoding.read_bytes(encode(native, alpha, Metadata(), encoding))
    np.testing.assert_array_equal(picture.native, native)
    if with_alpha:
        np.testing.assert_array_equal(picture.alpha, alpha)
    else:
        assert picture.alpha is None
    assert picture.notes == ()


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_lossy_formats_lose_less_at_a_higher_quality(format):
    native, found = photo(), []
    for quality in (1, 50, 90, 100):
        content = encode(native, None, Metadata(), Encoding(format=format, quality=quality))
        assert opened(content).format == format.upper()
        found.append((psnr(native, decoding.read_bytes(content).native), len(content)))
    assert found == sorted(found)
    assert found[2][0] > 33


def test_lossy_webp_keeps_alpha_and_hidden_colours():
    native = np.full((32, 32, 3), (200, 60, 30), np.uint8)
    alpha = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))
    picture = decoding.read_bytes(encode(native, alpha, Metadata(), WEBP))
    np.testing.assert_array_equal(picture.alpha, alpha)
    assert np.abs(picture.native.astype(int) - native).max() <= 4


@pytest.mark.parametrize("encoding", [PNG, JPEG, WEBP, LOSSLESS], ids=["png", "jpeg", "webp", "lossless"])
def test_the_same_picture_gives_the_same_bytes(encoding):
    native, metadata = photo(), Metadata(icc_profile=icc.adobe_rgb(), dpi=(300, 300))
    first = encode(native, None, metadata, encoding)
    assert encode(native.copy(), None, metadata, replace(encoding)) == first
    assert hash(encoding) == hash(replace(encoding))


def test_jpeg_drops_an_opaque_plane_and_refuses_transparency():
    native, alpha = random_rgb(), np.full((5, 7), 255, np.uint8)
    assert encode(native, alpha, Metadata(), JPEG) == encode(native, None, Metadata(), JPEG)
    alpha[0, 0] = 254
    with pytest.raises(ValueError, match=r"JPEG holds no transparency; encode this image as PNG or WebP"):
        encode(native, alpha, Metadata(), JPEG)


def test_planes_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match=r"native must be uint8 of shape \(5, 7, 3\), got float32"):
        encode(random_rgb().astype(np.float32), None, Metadata(), PNG)
    with pytest.raises(ValueError, match=r"alpha must be uint8 of shape \(5, 7\), got uint8 \(4, 7\)"):
        encode(random_rgb(), np.zeros((4, 7), np.uint8), Metadata(), PNG)


def test_progressive_jpeg_of_noise_at_the_finest_tables_is_still_a_jpeg(capfd):
    """Pillow cannot encode it in several scans: the bytes outgrow its buffer."""
    noise = random_rgb(200, 200)
    fine = Encoding(format="jpeg", tables=((1,) * 64,), subsampling="4:4:4", progressive=True)
    content = encode(noise, None, Metadata(), fine)
    assert psnr(noise, decoding.read_bytes(content).native) > 48
    assert content == encode(noise, None, Metadata(), replace(fine, progressive=False))
    capfd.readouterr()  # libjpeg says so on the terminal


# Metadata


@pytest.mark.parametrize("encoding", [PNG, JPEG, WEBP], ids=["png", "jpeg", "webp"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_metadata_travels_from_every_container_to_every_format(encoding, kind):
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION] = "Maker", 3
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    packet = '<x:xmpmeta xmlns:x="adobe:ns:meta/">Ünïcode</x:xmpmeta>'.encode()
    options: dict[str, object] = {"exif": exif, "icc_profile": icc.adobe_rgb(), "xmp": packet}
    if kind == "PNG":
        options["pnginfo"] = text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
    if kind == "TIFF":
        exif[700], exif[0x8769] = packet, dict(exif.get_ifd(0x8769))
    source = decoding.read_bytes(file_of(random_rgb(8, 8), kind, **options))
    found = decoding.read_bytes(encode(source.native, source.alpha, source.metadata, encoding))
    assert found.metadata.icc_profile == icc.adobe_rgb()
    assert found.metadata.xmp == packet
    kept = Image.Exif()
    kept.load(found.metadata.exif)
    assert kept[MAKE] == "Maker"
    assert kept.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert kept.get(ORIENTATION, 1) == 1
    assert found.notes == ()


def test_the_resolution_is_in_the_header_of_png_and_jpeg_and_in_the_exif_of_webp():
    metadata = Metadata(dpi=(300, 72))
    for encoding, error in ((PNG, 0.02), (JPEG, 0)):  # PNG counts per metre
        found = decoding.read_bytes(encode(random_rgb(), None, metadata, encoding)).metadata
        assert found.dpi == pytest.approx(metadata.dpi, abs=error)
    webp = opened(encode(random_rgb(), None, metadata, WEBP))
    assert [webp.getexif()[X_RESOLUTION + place] for place in (0, 1)] == [300, 72]


def test_what_jpeg_has_no_room_for_is_left_out_with_a_note():
    fitting = Metadata(exif=b"MM\0*\0\0\0\x08" + b"\0" * 65_519, xmp=b"x" * 65_504, dpi=(65_535, 1))
    for metadata, notes in (
        (fitting, ()),
        (
            Metadata(exif=fitting.exif + b"\0", xmp=fitting.xmp + b"x", dpi=(65_536, 1)),
            (
                "EXIF left out: 65,528 bytes are too many for JPEG",
                "XMP left out: 65,505 bytes are too many for JPEG",
                "resolution left out: JPEG holds at most 65,535 dots per inch",
            ),
        ),
    ):
        picture = Picture(native=random_rgb(), srgb=random_rgb(), alpha=None, metadata=metadata, notes=())
        plan = planned(picture, ["a.jpg", "a.png"])
        assert plan.notes == notes
        content = encode(picture.native, None, plan.metadata, plan.encoding)
        assert opened(content).info.get("xmp") == (None if notes else metadata.xmp)
        assert opened(content).info.get("exif", b"")[6:] == (b"" if notes else metadata.exif)
        assert planned(picture, ["a.webp", "a.png"]).notes == ()
        assert planned(picture, ["a.png"]).metadata == metadata


# What a source keeps


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("tables", [FINE, FINE[:1], (*FINE, (3,) * 64), ((300,) * 64, (2,) * 64)])
def test_a_jpeg_of_a_jpeg_has_its_tables_subsampling_and_mode(tables, subsampling, progressive):
    source = file_of(photo(), "JPEG", qtables=tables, subsampling=subsampling, progressive=progressive)
    plan, content = released(source, "a.jpg")
    before, after = opened(source), opened(content)
    assert after.quantization == before.quantization
    assert [list(table) for table in tables] == [after.quantization[n] for n in range(len(tables))]
    assert after.layer == before.layer
    assert ("progressive" in after.info) == progressive
    assert plan.encoding.quality is None
    assert plan.notes == ()


def test_an_unchanged_jpeg_hardly_changes_when_it_is_encoded_again():
    source = file_of(photo(), "JPEG", quality=60)
    before = decoding.read_bytes(source).native
    again = decoding.read_bytes(released(source, "a.jpg")[1]).native
    other = decoding.read_bytes(released(source, "a.jpg", quality=61)[1]).native
    assert psnr(before, again) > psnr(before, other) + 6


def test_a_grey_jpeg_stays_grey_at_its_own_table_and_at_a_quality():
    source = file_of(photo()[..., 0], "JPEG", quality=80)
    for options in ({}, {"quality": 70}):
        _, content = released(source, "a.jpg", **options)
        assert opened(content).mode == "L"
    _, content = released(source, "a.jpg")
    assert opened(content).quantization == opened(source).quantization
    picture = decoding.read_bytes(source)
    assert psnr(picture.native, decoding.read_bytes(content).native) > 45
    assert opened(released(source, "a.webp")[1]).mode == "RGB"


@pytest.mark.parametrize(
    ("sampling", "expected"), [((1, 2, 1, 1), "4:4:4"), ((4, 1, 1, 1), "4:4:4"), ((2, 1, 1, 1), "4:2:2")]
)
def test_rare_chroma_layouts_become_the_next_finer_one(sampling, expected):
    """4:4:0, of photos turned without loss, and 4:1:1, of old cameras; the header alone says it."""
    content = bytearray(file_of(np.zeros((8, 8, 3), np.uint8), "JPEG", subsampling="4:4:4"))
    start = content.index(b"\xff\xc0") + 10  # components: number, sampling, table
    content[start + 1] = sampling[0] * 16 + sampling[1]
    picture = decoding.read_bytes(bytes(content))
    assert picture.file.subsampling == expected


def test_other_jpegs_have_quality_90_and_half_the_chroma():
    noisy = {"a CMYK JPEG": Image.fromarray(photo()).convert("CMYK"), "a photo in PNG": photo()}
    for source in (file_of(noisy["a CMYK JPEG"], "JPEG"), file_of(noisy["a photo in PNG"], "PNG")):
        plan, content = released(source, "a.jpg")
        assert plan.encoding == Encoding(format="jpeg", quality=DEFAULT_QUALITY) == JPEG
        found = opened(content)
        reference = opened(file_of(photo(), "JPEG", quality=90, subsampling="4:2:0"))
        assert (found.quantization, found.layer) == (reference.quantization, reference.layer)


def test_a_quality_replaces_the_tables_of_the_source():
    source = file_of(photo(), "JPEG", qtables=FINE, subsampling="4:4:4", progressive=True)
    plan, content = released(source, "a.jpg", quality=33)
    assert plan.encoding == Encoding(format="jpeg", quality=33, subsampling="4:2:0")
    reference = opened(file_of(photo(), "JPEG", quality=33, subsampling="4:2:0"))
    assert opened(content).quantization == reference.quantization


@pytest.mark.parametrize("more", [{}, {"exif": b"MM\0*\0\0\0\x08\0\0", "icc_profile": icc.adobe_rgb()}])
def test_a_lossless_webp_stays_lossless_where_that_is_asked_for(more):
    lossless, lossy = (file_of(photo(), "WEBP", lossless=choice, **more) for choice in (True, False))
    assert decoding.read_bytes(lossless).file == SourceFile(format="WEBP", lossless=True)
    assert decoding.read_bytes(lossy).file == SourceFile(format="WEBP")
    plan, content = released(lossless, "a.webp", quality=30, keep_lossless=True)
    assert plan.encoding == LOSSLESS
    np.testing.assert_array_equal(decoding.read_bytes(content).native, photo())
    assert released(lossless, "a.webp")[0].encoding == WEBP
    assert released(lossy, "a.webp", keep_lossless=True)[0].encoding == WEBP
    assert released(lossless, "a.jpg", keep_lossless=True)[0].encoding == JPEG


def test_a_phone_jpeg_of_two_pictures_counts_as_jpeg():
    source = file_of(photo(), "MPO", save_all=True, append_images=[Image.fromarray(photo())], quality=70)
    _, content = released(source, "a.jpg")
    assert opened(content).format == "JPEG"
    assert opened(content).quantization == opened(source).quantization


def test_a_picture_without_a_file_gets_the_default():
    assert encoding_for(SourceFile(), "jpeg") == JPEG
    assert encoding_for(SourceFile(), "webp", 12) == Encoding(format="webp", quality=12)
    assert encoding_for(SourceFile(), "png", 12) == PNG


# What does not fit


def plane(height: int, width: int) -> Picture:
    native = np.zeros((height, width, 3), np.uint8)
    return Picture(native=native, srgb=native, alpha=None, metadata=Metadata(), notes=())


@pytest.mark.parametrize(
    ("name", "longest", "text"),
    [("a.jpg", 65_500, "65,500 pixels a side of JPEG"), ("a.webp", 16_383, "16,383 pixels a side of WebP")],
)
def test_a_picture_too_long_for_its_format_is_released_as_png(name, longest, text):
    for height, width in ((1, longest), (longest, 1)):
        picture = plane(height, width)
        plan = planned(picture, [name, "b.png"])
        assert (plan.name, plan.notes) == (name, ())
        content = encode(picture.native, None, Metadata(), plan.encoding)
        assert opened(content).size == (width, height)
    plan = planned(plane(2, longest + 1), [name, "b.png"])
    assert (plan.name, plan.encoding) == ("b.png", PNG)
    assert plan.notes == (f"released as PNG: {longest + 1}x2 is more than the {text}",)


def test_transparency_is_released_as_png_instead_of_jpeg():
    rgba = np.dstack([photo(), np.full((48, 64), 255, np.uint8)])
    assert released(file_of(rgba, "PNG"), "a.jpg")[0].name == "a.jpg"
    rgba[:8, :, 3] = 100
    plan, content = released(file_of(rgba, "PNG"), "a.jpg", quality=70)
    assert (plan.name, plan.notes) == ("spare.png", ("released as PNG: JPEG holds no transparency",))
    np.testing.assert_array_equal(np.asarray(opened(content)), rgba)
    assert released(file_of(rgba, "PNG"), "a.webp")[0].name == "a.webp"


@pytest.mark.parametrize(
    ("format", "names"),
    [
        ("jpeg", ["a/b.JPG", "a.jpeg", "a.jfif", "a.jpe"]),
        ("webp", ["a.b.webp", "a.png.WebP"]),
        ("png", ["a.Png"]),
        (None, ["a", "a.gif", "jpg", "a.jpg/b"]),
    ],
)
def test_a_name_stands_for_the_format_of_its_ending(format, names):
    assert {format_of(name) for name in names} == {format}


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_png_stays_grey_png_and_keeps_its_pixels(mode: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (9, 12), dtype=np.uint8)
    native, alpha = np.repeat(levels[..., None], 3, axis=2), None if mode == "L" else levels[::-1].copy()
    made = encode(native, alpha, Metadata(), Encoding(format="png", grey=True))
    with Image.open(io.BytesIO(made)) as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image.convert("RGB")), native)


def test_a_png_of_a_grey_source_holds_colours_when_there_are_some() -> None:
    native = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    made = encode(native, None, Metadata(), Encoding(format="png", grey=True))
    with Image.open(io.BytesIO(made)) as image:
        assert np.array_equal(np.asarray(image), native)
