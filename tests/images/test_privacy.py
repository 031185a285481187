"""What of a photo's metadata goes out, in files that Pillow wrote and reads."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from active_indexing.images import decoding, encoding
from active_indexing.images.picture import Metadata
from active_indexing.images.privacy import released_metadata
from active_indexing.images.source_encoding import SourceFile
from tests.data import icc

MAKE, GPS = 0x010F, 0x8825
PACKET = (
    b'<x exif:GPSLatitude="48,51N" tiff:Make="ACM"><exif:GPSLongitude>2,21E</exif:GPSLongitude>'
    b"<exif:GPSTag><rdf:Seq>7</rdf:Seq></exif:GPSTag><dc:title>Tower</dc:title></x>"
)


def photo(kind: str) -> bytes:
    exif = Image.Exif()
    exif[MAKE] = "ACM"
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 51.0, 29.5), 3: "E", 4: (2.0, 21.0, 5.25)})
    file = io.BytesIO()
    more = {} if kind in ("PNG", "TIFF") else {"xmp": PACKET}
    Image.new("RGB", (40, 20), "blue").save(
        file, kind, exif=exif.tobytes(), icc_profile=icc.adobe_rgb(), **more
    )
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("released_as", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["keep", "strip-gps", "strip"])
def test_every_format_in_every_mode(kind: str, released_as: str, mode: str) -> None:
    picture = decoding.read_bytes(photo(kind))
    found = released_metadata(picture.metadata, mode)
    settings = encoding.encoding_for(SourceFile(), released_as)
    with Image.open(io.BytesIO(encoding.encode(picture.native, None, found, settings))) as image:
        assert image.info["icc_profile"] == icc.adobe_rgb(), "colours stay right"
        tags = image.getexif()
        assert tags.get(MAKE) == (None if mode == "strip" else "ACM")
        place = dict(tags.get_ifd(GPS))
        assert place == {} if mode != "keep" else place[2] == (48.0, 51.0, 29.5)


def test_xmp_loses_the_place_and_nothing_else() -> None:
    found = released_metadata(Metadata(xmp=PACKET), "strip-gps").xmp
    assert found == b'<x tiff:Make="ACM"><dc:title>Tower</dc:title></x>'
    assert released_metadata(Metadata(xmp=PACKET), "strip").xmp is None
    assert released_metadata(Metadata(xmp=PACKET), "keep").xmp == PACKET


def test_no_byte_of_the_coordinates_stays() -> None:
    block = decoding.read_bytes(photo("JPEG")).metadata.exif
    assert block is not None
    seconds = (59).to_bytes(4, "big") + (2).to_bytes(4, "big")  # 29.5 as a fraction
    little = (59).to_bytes(4, "little") + (2).to_bytes(4, "little")
    cleared = released_metadata(Metadata(exif=block), "strip-gps").exif
    assert cleared is not None
    assert seconds in block or little in block
    assert seconds not in cleared
    assert little not in cleared
    assert len(cleared) == len(block)


@pytest.mark.parametrize("block", [b"", b"no header", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x09"])
def test_a_block_that_cannot_be_read_is_not_released(block: bytes) -> None:
    assert released_metadata(Metadata(exif=block), "strip-gps").exif is None
