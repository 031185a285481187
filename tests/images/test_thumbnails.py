"""Thumbnails inside EXIF and XMP: copies of the photo that nobody turned or protected."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from active_indexing.images import decoding, encoding, metadata
from active_indexing.images.source_encoding import SourceFile

MAKE, ORIENTATION, GPS = 0x010F, 0x0112, 0x8825


def thumbnail() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(file, "JPEG")
    return file.getvalue()


def camera_block(order: str = "<", *, tail: bytes = b"") -> bytes:
    """By hand: a folder with maker and orientation, one with a JPEG thumbnail, then ``tail``."""
    picture = thumbnail()
    first = struct.pack(order + "H", 2)
    first += struct.pack(order + "HHL4s", MAKE, 2, 4, b"ACM\0")
    first += struct.pack(order + "HHLHH", ORIENTATION, 3, 1, 6, 0)
    second_at = 8 + len(first) + 4
    first += struct.pack(order + "L", second_at)
    picture_at = second_at + 2 + 12 * 3 + 4
    second = struct.pack(order + "H", 3)
    second += struct.pack(order + "HHLHH", 0x0103, 3, 1, 6, 0)
    second += struct.pack(order + "HHLL", 0x0201, 4, 1, picture_at)
    second += struct.pack(order + "HHLL", 0x0202, 4, 1, len(picture))
    second += struct.pack(order + "L", 0)
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return b"Exif\0\0" + head + first + second + picture + tail


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_goes_and_everything_else_stays_in_its_place(order: str) -> None:
    block = camera_block(order, tail=b"maker notes")
    assert thumbnail() in block
    upright = metadata.upright_exif(block)
    assert len(upright) == len(block)
    assert upright.endswith(b"maker notes")
    assert b"\xff\xd8" not in upright
    tags = Image.Exif()
    tags.load(upright)
    assert dict(tags) == {MAKE: "ACM", ORIENTATION: 1}
    assert not tags.get_ifd(1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("released_as", ["jpeg", "png", "webp"])
def test_no_released_file_holds_the_thumbnail_of_its_source(kind: str, released_as: str) -> None:
    source = io.BytesIO()
    Image.new("RGB", (40, 20), "blue").save(source, kind, exif=camera_block())
    assert thumbnail() in source.getvalue()
    picture = decoding.read_bytes(source.getvalue())
    assert picture.native.shape == (40, 20, 3), "turned upright"
    settings = encoding.encoding_for(SourceFile(), released_as)
    content = encoding.encode(picture.native, None, picture.metadata, settings)
    assert thumbnail()[-200:] not in content
    with Image.open(io.BytesIO(content)) as found:
        assert found.getexif()[MAKE] == "ACM"
        assert not found.getexif().get_ifd(1)


@pytest.mark.parametrize("at", range(0, 64, 3))
def test_a_block_that_is_cut_or_points_nowhere_is_no_crash(at: int) -> None:
    block = camera_block()
    cut = block[: 6 + 8 + 2 + 24 + at]  # from the end of the first folder on
    assert len(metadata.upright_exif(cut)) == len(cut)
    lost = bytearray(block)
    lost[40:44] = struct.pack("<L", 2**32 - 1 - at)
    assert len(metadata.upright_exif(bytes(lost))) == len(block)


def test_thumbnails_in_xmp_are_emptied_and_the_rest_stays() -> None:
    packet = b"<x><xmpGImg:image>QUJD</xmpGImg:image><a xmpGImg:image='QUJD' b=\"c\"/></x>"
    assert metadata.upright_xmp(packet) == (
        b'<x><xmpGImg:image></xmpGImg:image><a xmpGImg:image="" b="c"/></x>'
    )
