"""EXIF, XMP and resolution of a decoded file, with the orientation and embedded thumbnails taken out."""

from __future__ import annotations

import math
import re
import struct

from PIL import ExifTags, Image

_ORIENTATION = ExifTags.Base.Orientation
_HEADER = b"Exif\x00\x00"
# A TIFF file keeps EXIF tags beside the tags of its own layout; only these describe the photo.
_TIFF_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
)
_TIFF_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# (place, length) of a thumbnail's bytes: JPEG, and uncompressed in one strip (EXIF 2.32, 4.6.4 and 4.5.5)
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))
_XMP_THUMBNAIL = re.compile(
    rb"""(<xmpGImg:image\s*>)[^<]*(?=</xmpGImg:image)|(\sxmpGImg:image\s*=\s*)("[^"]*"|'[^']*')"""
)
_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>\s*))[0-9]""")


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, still to be applied to a loaded image.

    Pillow turns TIFF files upright while it loads them; 1 stands for those and for nonsense values.
    """
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright_block(image: Image.Image) -> bytes | None:
    """EXIF block of a loaded image with the orientation reset, or None.

    All other bytes stay where they are, so that maker notes with absolute offsets stay readable.
    """
    if hasattr(image, "tag_v2"):
        return _descriptive_tags(image.getexif())
    block = image.info.get("exif")
    if block is None:  # ImageMagick writes it as hexadecimal text, which Pillow understands
        tags = image.getexif()
        tags.pop(_ORIENTATION, None)
        return tags.tobytes() if len(tags) else None
    return upright_exif(block) if block else None


def upright_exif(block: bytes) -> bytes:
    """The same EXIF block with its orientation tag set to 1 in place, and without its thumbnail.

    The thumbnail is a copy of the photo before it was turned and protected. Its bytes and the folder of tags
    that describes it become zeros, so that everything else stays where it is.

    Raises:
        ValueError: if the block does not begin with a TIFF header.
        struct.error: if the first folder of tags is cut short.
    """
    start = len(_HEADER) if block.startswith(_HEADER) else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    if order is None:
        raise ValueError("no TIFF header")
    patched = bytearray(block)
    (folder,) = struct.unpack_from(order + "L", block, start + 4)
    (entries,) = struct.unpack_from(order + "H", block, start + folder)
    for entry in range(entries):
        place = start + folder + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", block, place)
        if tag == _ORIENTATION:
            struct.pack_into(order + ("L" if kind == 4 else "H"), patched, place + 8, 1)
    _blank_thumbnail(patched, start, start + folder + 2 + 12 * entries, order)
    return bytes(patched)


def upright_xmp(packet: bytes | str | None) -> bytes | None:
    """XMP packet as UTF-8 bytes without padding at its end, orientation set to 1, thumbnails emptied.

    Raises:
        UnicodeDecodeError: if the packet is not UTF-8.
    """
    if not packet:
        return None
    raw = packet.encode() if isinstance(packet, str) else bytes(packet)
    raw.decode()
    upright = _XMP_ORIENTATION.sub(rb"\g<1>1", raw.rstrip(b"\x00"))
    return _XMP_THUMBNAIL.sub(_emptied, upright) or None


def resolution(image: Image.Image) -> tuple[float, float] | None:
    """Horizontal and vertical dots per inch, or None if the file has none that make sense."""
    dpi = image.info.get("dpi")
    try:
        across, down = (float(value) for value in dpi or ())
    except (TypeError, ValueError, ArithmeticError):
        return None
    sensible = all(math.isfinite(value) and 1 <= value <= 100_000 for value in (across, down))
    return (across, down) if sensible else None


def _blank_thumbnail(block: bytearray, start: int, pointer: int, order: str) -> None:
    """Zero the second folder of tags, whose offset is at ``pointer``, and the picture that it describes."""
    if len(block) < pointer + 4:
        return
    (offset,) = struct.unpack_from(order + "L", block, pointer)
    struct.pack_into(order + "L", block, pointer, 0)
    folder = start + offset
    if folder < pointer + 4 or len(block) < folder + 2:
        return
    (entries,) = struct.unpack_from(order + "H", block, folder)
    entries = min(entries, (len(block) - folder - 2) // 12)
    values = {}
    for place in range(folder + 2, folder + 2 + 12 * entries, 12):
        tag, kind = struct.unpack_from(order + "HH", block, place)
        (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "L"), block, place + 8)
    for at, length in _THUMBNAILS:
        if at in values and length in values and start + values[at] >= pointer + 4:  # else it lies
            _zero(block, start + values[at], values[length])
    _zero(block, folder, 2 + 12 * entries + 4)


def _zero(block: bytearray, place: int, length: int) -> None:
    end = min(place + length, len(block))
    block[place:end] = bytes(max(0, end - place))


def _emptied(found: re.Match[bytes]) -> bytes:
    return found[1] or found[2] + b'""'


def _descriptive_tags(exif: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in _TIFF_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for folder in _TIFF_FOLDERS:
        if tags := exif.get_ifd(folder):
            kept[folder] = dict(tags)
    return kept.tobytes() if len(kept) else None
