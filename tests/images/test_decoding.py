import contextlib
import io
import os
import struct
import sys
import threading
import tracemalloc
import types
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin

from active_indexing.images import decoding, listing, tensors
from active_indexing.images.decoding import UnreadableImage
from active_indexing.images.picture import Picture
from tests.data import icc

ORIENTATION, MAKE = 0x0112, 0x010F


def random_rgb(height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">L", len(content)) + name + content + struct.pack(">L", check)


def raw_png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *more, data, chunk(b"IEND", b"")])


@pytest.fixture
def read(tmp_path):
    """Reads an image from its bytes."""

    def read_bytes(content: bytes, **options: int) -> Picture:
        path = tmp_path / "image"
        path.write_bytes(content)
        return decoding.read(path, **options)

    return read_bytes


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_orientation_is_turned_upright(read, kind, orientation):
    source = Image.fromarray(random_rgb())
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = orientation, "Maker"
    picture = read(encoded(source, kind, exif=exif))
    source.getexif()[ORIENTATION] = orientation
    np.testing.assert_array_equal(picture.native, np.asarray(ImageOps.exif_transpose(source)))
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept.get(ORIENTATION, 1) == 1
    assert kept[MAKE] == "Maker"


def test_orientation_6_puts_the_left_pixel_on_top(read):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    left_red = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    picture = read(encoded(Image.fromarray(left_red), "PNG", exif=exif))
    assert picture.native.tolist() == [[[255, 0, 0]], [[0, 0, 255]]]
    assert picture.notes == ("turned upright (EXIF orientation 6)",)


def test_a_jpeg_keeps_every_other_exif_byte_when_it_is_turned(read):
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 8, "Maker"
    block = exif.tobytes()
    kept = read(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=block)).metadata.exif
    assert len(kept) == len(block)
    assert sum(a != b for a, b in zip(kept, block, strict=True)) == 1


def test_an_orientation_in_xmp_only_is_applied_and_reset(read):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6" b="6"/></x:xmpmeta>'
    picture = read(encoded(Image.new("RGB", (8, 4)), "WEBP", xmp=packet))
    assert picture.native.shape == (8, 4, 3)
    assert picture.metadata.xmp == packet.replace(b'Orientation="6"', b'Orientation="1"')


def test_damaged_exif_is_dropped_with_a_note_and_the_pixels_stay(read):
    picture = read(encoded(Image.new("RGB", (3, 2)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09"))
    assert picture.native.shape == (2, 3, 3)
    assert picture.metadata.exif is None
    assert any(note.startswith("EXIF dropped") for note in picture.notes)


# Colour


def test_the_view_of_an_adobe_rgb_photo_is_srgb_and_its_native_pixels_are_untouched(read):
    rgb = random_rgb(30, 40)
    picture = read(encoded(Image.fromarray(rgb), "PNG", icc_profile=icc.adobe_rgb()))
    np.testing.assert_array_equal(picture.native, rgb)
    np.testing.assert_allclose(picture.srgb, icc.adobe_to_srgb(rgb), atol=1.01)  # measured: 0.70
    assert picture.metadata.icc_profile == icc.adobe_rgb()
    assert picture.notes == ()


def test_an_srgb_profile_changes_nothing_and_is_kept(read):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read(encoded(Image.fromarray(random_rgb()), "PNG", icc_profile=profile))
    assert picture.srgb is picture.native
    assert picture.metadata.icc_profile == profile


@pytest.mark.parametrize("profile", [b"not a profile", icc.adobe_rgb()[:200], icc.grey()])
def test_a_broken_or_foreign_profile_is_dropped_with_a_note(read, profile):
    rgb = random_rgb()
    picture = read(encoded(Image.fromarray(rgb), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(picture.native, rgb)
    assert picture.srgb is picture.native
    assert picture.metadata.icc_profile is None
    assert [note.split(":")[0] for note in picture.notes] == ["colour profile dropped"]


def test_a_grey_profile_is_applied_and_not_kept_beside_rgb_pixels(read):
    grey = np.arange(256, dtype=np.uint8)[None]
    picture = read(encoded(Image.fromarray(grey), "PNG", icc_profile=icc.grey()))
    expected = icc.srgb_levels((grey / 255) ** icc.GREY_GAMMA)
    np.testing.assert_allclose(picture.native[..., 0], expected, atol=1.6)  # measured: 1.47
    assert picture.srgb is picture.native
    assert picture.metadata.icc_profile is None
    assert picture.notes == ("grey converted to sRGB by its profile",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(read, kind):
    pure_cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    by_profile = read(encoded(pure_cyan, kind, icc_profile=icc.black_only_cmyk()))
    assert by_profile.native[0, 0] == pytest.approx([255, 255, 255], abs=2)
    assert by_profile.notes == ("CMYK converted to sRGB by its profile",)
    plain = read(encoded(pure_cyan, kind))
    assert plain.native[0, 0] == pytest.approx([0, 255, 255], abs=2)
    assert plain.notes == ("CMYK converted to sRGB without a profile",)
    assert by_profile.metadata.icc_profile is plain.metadata.icc_profile is None


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces_of_tiff_become_srgb(read, mode):
    photo = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    source = Image.merge("RGB", [photo.getchannel(0), photo.rotate(90).getchannel(0), photo.getchannel(2)])
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.buildTransform(*spaces, "RGB", "LAB").apply(source)
    else:
        stored = source.convert(mode)
    picture = read(encoded(stored, "TIFF"))
    # 8-bit LAB is coarse: single colours are off by up to 22 levels there and back.
    assert np.abs(picture.srgb.astype(int) - np.asarray(source)).mean() <= 3


# Alpha


def transparent_rgba() -> np.ndarray:
    rgba = np.dstack([random_rgb(), np.full((5, 7), 255, np.uint8)])
    rgba[0, :, 3] = 0
    rgba[1, :, 3] = 100
    return rgba


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_alpha_is_kept_and_the_view_lies_on_white(read, kind, options):
    rgba = transparent_rgba()
    picture = read(encoded(Image.fromarray(rgba), kind, **options))
    np.testing.assert_array_equal(picture.native, rgba[..., :3])
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])
    weight = rgba[..., 3:] / 255
    np.testing.assert_allclose(picture.srgb, rgba[..., :3] * weight + 255 * (1 - weight), atol=0.51)
    assert (picture.srgb[0] == 255).all()


def test_alpha_and_profile_together_composite_in_srgb(read):
    rgba = transparent_rgba()
    picture = read(encoded(Image.fromarray(rgba), "PNG", icc_profile=icc.adobe_rgb()))
    weight = rgba[..., 3:] / 255
    expected = icc.adobe_to_srgb(rgba[..., :3]) * weight + 255 * (1 - weight)
    np.testing.assert_array_equal(picture.native, rgba[..., :3])
    np.testing.assert_allclose(picture.srgb, expected, atol=1.6)


def test_opaque_alpha_leaves_the_view_equal_to_the_native_pixels(read):
    picture = read(encoded(Image.fromarray(random_rgb()).convert("RGBA"), "PNG"))
    assert picture.srgb is picture.native
    assert (picture.alpha == 255).all()


def test_grey_with_alpha(read):
    stored = Image.merge("LA", [Image.new("L", (2, 1), 80), Image.fromarray(np.array([[0, 255]], np.uint8))])
    picture = read(encoded(stored, "PNG"))
    assert picture.native.tolist() == [[[80] * 3, [80] * 3]]
    assert picture.srgb.tolist() == [[[255] * 3, [80] * 3]]


@pytest.mark.parametrize(("kind", "transparency"), [("PNG", 1), ("PNG", bytes([255, 0, 255])), ("GIF", 1)])
def test_palette_with_transparency(read, kind, transparency):
    stored = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    stored.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture = read(encoded(stored, kind, transparency=transparency))
    assert picture.native.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert picture.alpha.tolist() == [[255, 0, 255]]
    assert picture.srgb.tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]


def test_palette_with_its_own_alpha_plane(read):
    stored = Image.new("PA", (2, 1), (0, 255))
    stored.putpalette([10, 20, 30] * 256)
    stored.putpixel((1, 0), (0, 0))
    picture = read(encoded(stored, "TIFF"))
    assert picture.native.tolist() == [[[10, 20, 30], [10, 20, 30]]]
    assert picture.alpha.tolist() == [[255, 0]]


@pytest.mark.parametrize(("mode", "colour"), [("L", 7), ("RGB", (7, 8, 9)), ("1", 1)])
def test_one_transparent_colour(read, mode, colour):
    stored = Image.new(mode, (2, 1))
    stored.putpixel((1, 0), colour)
    picture = read(encoded(stored, "PNG", transparency=colour))
    assert picture.alpha.tolist() == [[255, 0]]
    assert picture.srgb.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_one_transparent_colour_in_16_bit_grey(read):
    rows = b"\0" + struct.pack(">2H", 1000, 40000)
    picture = read(raw_png(2, 1, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 1000))))
    assert picture.alpha.tolist() == [[0, 255]]
    assert picture.native[..., 0].tolist() == [[4, 156]]


# Depth


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_16_bit_grey_is_scaled_and_not_saturated(read, kind):
    levels = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16).repeat(4, axis=0)
    picture = read(encoded(Image.fromarray(levels), kind))
    assert picture.native[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert picture.notes == ("16-bit reduced to 8-bit",)


def tiff_of(mode: str, values: bytes, size: tuple[int, int], tags: dict[int, object]) -> bytes:
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        ifd[tag] = value
    return encoded(Image.frombytes(mode, size, values), "TIFF", tiffinfo=ifd)


def test_16_bit_grey_with_white_at_zero_is_inverted(read):
    content = tiff_of("I;16", struct.pack("<2H", 0, 65535), (2, 1), {262: 0})
    patched = content.replace(struct.pack("<HHLL", 262, 3, 1, 1), struct.pack("<HHLL", 262, 3, 1, 0))
    assert read(patched).native[..., 0].tolist() == [[255, 0]]


def test_big_endian_16_bit_grey(read):
    content = encoded(Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 65535, 514)), "TIFF")
    assert read(content).native[..., 0].tolist() == [[255, 2]]


def test_16_bit_values_in_32_bit_integers_are_scaled(read):
    picture = read(encoded(Image.fromarray(np.array([[0, 65535, 514]], np.int32)), "TIFF"))
    assert picture.native[..., 0].tolist() == [[0, 255, 2]]


@pytest.mark.parametrize("value", [-1, 200, 65536])
def test_32_bit_integers_of_unclear_range_are_refused(read, value):
    with pytest.raises(UnreadableImage, match="32-bit integer pixels have no clear range"):
        read(encoded(Image.fromarray(np.full((2, 2), value, np.int32)), "TIFF"))


def test_float_pixels_between_0_and_1_are_scaled(read):
    picture = read(encoded(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "TIFF"))
    assert picture.native[..., 0].tolist() == [[0, 128, 255]]
    assert picture.notes == ("float reduced to 8-bit",)


@pytest.mark.parametrize("values", [[0.0, 200.0], [-0.5, 0.5], [0.5, np.inf], [0.5, np.nan]])
def test_float_pixels_of_unclear_range_are_refused(read, values):
    with pytest.raises(UnreadableImage, match="float pixels"):
        read(encoded(Image.fromarray(np.array([values], np.float32)), "TIFF"))


def test_16_bit_colour_is_noted(read):
    rows = b"\0" + struct.pack(">3H", 65535, 32768, 255)
    picture = read(raw_png(1, 1, 16, 2, rows))
    assert picture.native.tolist() == [[[255, 128, 0]]]
    assert picture.notes == ("16-bit reduced to 8-bit",)


def test_a_transparent_colour_of_16_bits_is_ignored_with_a_note(read):
    rows = b"\0" + struct.pack(">3H", 65535, 32768, 255)
    picture = read(raw_png(1, 1, 16, 2, rows, chunk(b"tRNS", struct.pack(">3H", 9, 9, 9))))
    assert picture.alpha is None
    assert picture.notes == ("16-bit reduced to 8-bit", "transparent colour ignored")


# Formats and refusals


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("GIF", {}),
    ],
)
def test_lossless_formats_are_read_to_the_pixel(read, kind, options):
    rgb = random_rgb()
    np.testing.assert_array_equal(read(encoded(Image.fromarray(rgb), kind, **options)).native, rgb)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "WEBP"])
def test_lossy_formats_are_read_about_right(read, kind):
    picture = read(encoded(Image.new("RGB", (20, 10), (200, 100, 50)), kind))
    assert picture.native.shape == (10, 20, 3)
    assert np.abs(picture.native.astype(int) - [200, 100, 50]).max() <= 5


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_refused_with_their_number_of_frames(read, kind):
    frames = [Image.fromarray(random_rgb(16, 16, seed)) for seed in range(3)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match=r"^animated: 3 frames; only still images can be"):
        read(content)


def test_a_tiff_of_several_pages_is_refused(read):
    pages = [Image.fromarray(random_rgb(seed=seed)) for seed in range(2)]
    with pytest.raises(UnreadableImage, match=r"^2 pages; only single images can be released"):
        read(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def test_a_tiff_with_a_reduced_copy_of_itself_is_a_still_image(read):
    rgb = random_rgb(8, 8)
    small = Image.fromarray(rgb[::2, ::2])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    content = encoded(Image.fromarray(rgb), "TIFF", save_all=True, append_images=[small])
    np.testing.assert_array_equal(read(content).native, rgb)


def test_the_first_picture_of_a_phone_jpeg_is_read(read):
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    picture = read(encoded(first, "MPO", save_all=True, append_images=[second]))
    assert picture.native.shape == (16, 16, 3)
    assert picture.native[0, 0, 0] > 200


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {"compression": "jpeg"}),
        ("AVIF", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("JPEG2000", {}),
    ],
)
def test_a_truncated_file_is_refused_unless_no_pixel_is_missing(read, kind, options):
    photo = Image.fromarray(random_rgb(24, 24)).resize((48, 40), Image.Resampling.BICUBIC)
    content = encoded(photo, kind, **options)
    whole = read(content).native
    for length in sorted({1, 10, *range(40, len(content), 97), len(content) - 40}):
        try:
            cut = read(content[:length])
        except UnreadableImage:
            continue
        np.testing.assert_array_equal(cut.native, whole)


def test_a_jpeg_that_lost_its_second_half_is_refused(read):
    content = encoded(Image.fromarray(random_rgb(64, 64)), "JPEG")
    with pytest.raises(UnreadableImage, match=r"^damaged or truncated file \(image file is trunc"):
        read(content[: len(content) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "JPEG2000"])
def test_flipped_bytes_give_a_picture_or_a_reason(read, kind):
    rng = np.random.default_rng(1)
    content = encoded(Image.fromarray(random_rgb(16, 16)), kind)
    for _ in range(25):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(UnreadableImage):
            assert read(bytes(damaged)).native.dtype == np.uint8


def test_what_is_not_an_image_is_refused(read):
    with pytest.raises(UnreadableImage, match=r"^the file is empty$"):
        read(b"")
    with pytest.raises(UnreadableImage, match=r"^not a readable image in a supported format"):
        read(b"A text whose name ends in .jpg")


def test_what_is_not_a_file_is_refused(tmp_path):
    folder, pipe = tmp_path / "folder.jpg", tmp_path / "pipe.jpg"
    folder.mkdir()
    os.mkfifo(pipe)
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(UnreadableImage, match=r"^a folder, not an image file$"):
        decoding.read(folder)
    with pytest.raises(UnreadableImage, match=r"^not a regular file$"):
        decoding.read(pipe)
    with pytest.raises(UnreadableImage, match=r"^no such file, or a link that leads nowhere$"):
        decoding.read(tmp_path / "link.jpg")
    with pytest.raises(UnreadableImage, match=r"^the file cannot be opened"):
        decoding.read(Path("x" * 300))


def test_a_file_without_read_permission_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything, so no chmod
    with pytest.raises(UnreadableImage, match=r"^no permission to read the file$"):
        decoding.read(path)


def test_too_little_memory_is_a_reason(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(path)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding.colour, "planes", fail)
    with pytest.raises(UnreadableImage, match=r"^not enough memory to decode the image$"):
        decoding.read(path)


def test_the_pixel_limit_is_checked_before_decoding(read):
    with pytest.raises(UnreadableImage, match=r"^60000x60000 is more than the limit of 100,000,000"):
        read(raw_png(60000, 60000, 8, 2, b""))
    content = encoded(Image.new("RGB", (10, 10)), "PNG")
    assert read(content, max_pixels=100).native.shape == (10, 10, 3)
    with pytest.raises(UnreadableImage, match=r"^10x10 is more than the limit of 99 pixels$"):
        read(content, max_pixels=99)


def test_the_limit_of_pillow_plays_no_part_and_is_restored(read, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for size in (4, 100):  # in Pillow a warning from 11 pixels, an error from 21
        assert read(encoded(Image.new("RGB", (size, size)), "PNG")).native.shape[0] == size
    assert Image.MAX_IMAGE_PIXELS == 10


def test_an_image_without_pixels_is_refused(read):
    with pytest.raises(UnreadableImage, match=r"^not a readable image in a supported format"):
        read(raw_png(0, 5, 8, 2, b""))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_package_names_the_package(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImage, match="pillow-heif package"):
        read(HEIC)


def test_heic_is_read_when_its_package_is_there(read, monkeypatch):
    def register() -> None:
        Image.register_open("HEIF", lambda *_: Image.new("RGB", (3, 2), "red"))

    fake = types.ModuleType("pillow_heif")
    fake.register_heif_opener = register
    monkeypatch.setitem(sys.modules, "pillow_heif", fake)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert read(HEIC).native.shape == (2, 3, 3)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_images_of_one_pixel_work(read, mode):
    picture = read(encoded(Image.new(mode, (1, 1), 1), "PNG"))
    assert picture.native.shape == picture.srgb.shape == (1, 1, 3)


def test_50_megapixels_are_read_without_further_copies(tmp_path):
    path = tmp_path / "large.png"
    Image.new("RGB", (8000, 6250), (1, 2, 3)).save(path, compress_level=1)
    decoding.read(path, max_pixels=10**8)
    tracemalloc.start()
    picture = decoding.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert picture.native.shape == (6250, 8000, 3)
    assert (picture.native[-1, -1] == [1, 2, 3]).all()
    assert peak < 1.3 * picture.native.nbytes  # the result and one band; Pillow holds its own copy


def test_bands_do_not_show(read, monkeypatch):
    exif = Image.Exif()
    exif[ORIENTATION] = 5
    content = encoded(
        Image.fromarray(np.dstack([random_rgb(23, 9), random_rgb(23, 9)[..., 0]])),
        "PNG",
        exif=exif,
        icc_profile=icc.adobe_rgb(),
    )
    whole = read(content)
    monkeypatch.setattr(decoding.colour, "_BAND_PIXELS", 1)
    banded = read(content)
    for name in ("native", "srgb", "alpha"):
        np.testing.assert_array_equal(getattr(banded, name), getattr(whole, name))


def test_warnings_of_the_decoder_are_silent_and_its_filters_restored(read):
    # An acTL chunk that announces no frames: Pillow warns and reads the default image.
    content = encoded(Image.new("RGB", (2, 2)), "PNG")
    content = content[:33] + chunk(b"acTL", struct.pack(">LL", 0, 0)) + content[33:]
    before = list(warnings.filters)
    assert read(content).notes == ()
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(content))


def test_warnings_of_other_modules_are_not_silenced(read, monkeypatch):
    def warn(*_: object) -> None:
        warnings.warn("from elsewhere", UserWarning, stacklevel=1)
        raise ValueError("enough")

    monkeypatch.setattr(decoding.colour, "planes", warn)
    content = encoded(Image.new("RGB", (2, 2)), "PNG")
    with pytest.warns(UserWarning, match="from elsewhere"), pytest.raises(UnreadableImage, match="enough"):
        read(content)


def test_threads_may_read_at_the_same_time(tmp_path):
    for seed in range(8):
        Image.fromarray(random_rgb(50, 50, seed)).save(tmp_path / f"{seed}.png")
    found: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        for _ in range(5):
            found[seed] = decoding.read(tmp_path / f"{seed}.png").native

    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        np.testing.assert_array_equal(found[seed], random_rgb(50, 50, seed))
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


# Tensors


def test_levels_survive_the_way_to_a_tensor_and_back():
    levels = np.arange(256 * 3, dtype=np.uint32).reshape(16, 16, 3).astype(np.uint8)
    pixels = tensors.to_tensor(levels)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == torch.float32
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert pixels.is_contiguous()
    np.testing.assert_array_equal((pixels * 255).round().byte().numpy(), levels.transpose(2, 0, 1))


def test_to_tensor_takes_read_only_and_flipped_arrays():
    flipped = np.broadcast_to(random_rgb(), (5, 7, 3))[::-1, ::-1]
    pixels = tensors.to_tensor(flipped)
    np.testing.assert_array_equal((pixels * 255).round().byte().numpy(), flipped.transpose(2, 0, 1))


# Finding


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(root: Path, exclude: Path | None = None) -> list[str]:
    return [path.relative_to(root).as_posix() for path in listing.find_images(root, exclude)]


def test_images_are_found_by_extension_in_any_case_and_sorted(tmp_path):
    names = ["b/a.JPG", "a.png", "b.webp", "a/z.tiff", "c.avif", "d.heic", "e.jp2", "f.Gif", "g.jpeg"]
    touch(tmp_path, *names, "notes.txt", "movie.mp4", "raw.cr2", "no_extension", "a.png.part")
    assert found(tmp_path) == sorted(names)


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, ".a.png", ".cache/b.png", "c/.d/e.png", "c/f.png")
    assert found(tmp_path) == ["c/f.png"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path):
    touch(tmp_path, "real/a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "real/a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.png").symlink_to(tmp_path / "real")
    assert found(tmp_path) == ["link.png", "real/a.png"]


def test_a_folder_named_like_an_image_is_walked_and_not_listed(tmp_path):
    touch(tmp_path, "album.jpg/a.png")
    assert found(tmp_path) == ["album.jpg/a.png"]


def test_the_excluded_folder_is_skipped_and_its_namesakes_are_not(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "out/imgs/a.png", "out2/b.png", "in/out/c.png")
    expected = ["a.png", "in/out/c.png", "out2/b.png"]
    assert found(tmp_path, exclude=tmp_path / "out") == expected
    monkeypatch.chdir(tmp_path)
    assert found(tmp_path, exclude=Path("out")) == expected
    assert found(tmp_path, exclude=tmp_path) == []


def test_one_file_is_returned_whatever_its_name(tmp_path):
    touch(tmp_path, "picture.bin")
    assert listing.find_images(tmp_path / "picture.bin") == [tmp_path / "picture.bin"]


def test_a_missing_folder_is_an_error_and_an_empty_one_is_not(tmp_path):
    assert listing.find_images(tmp_path) == []
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*nothing; give a folder of"):
        listing.find_images(tmp_path / "nothing")


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root may list everything, so no chmod
    with pytest.raises(PermissionError, match=r"cannot list the folder .*allow reading it, or move"):
        listing.find_images(tmp_path)


def test_unicode_and_undecodable_names_work(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    names = [composed, decomposed, "写真.png", os.fsdecode(b"\xff\xfe.png")]
    for name in names:
        Image.new("RGB", (2, 1)).save(tmp_path / name)
    listed = listing.find_images(tmp_path)
    assert {path.name for path in listed} == set(names)
    assert listed == listing.find_images(tmp_path)
    assert all(decoding.read(path).native.shape == (1, 2, 3) for path in listed)
