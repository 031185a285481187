"""What of a photo's metadata goes out: everything, everything but the place, or nothing."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from active_indexing.images.picture import Metadata

_EXIF_NAME = b"Exif\x00\x00"
_GPS_FOLDER = 0x8825  # EXIF 2.32, 4.6.3
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}  # TIFF 6.0, section 2
# exif:GPSLatitude, drone-dji:GpsLatitude and their like, as elements (lists among them) and attributes
_GPS_ELEMENT = re.compile(rb"<([\w.-]+:gps\w*)\b[^>]*?(?:/>|>.*?</\1\s*>)", re.IGNORECASE | re.DOTALL)
_GPS_ATTRIBUTE = re.compile(rb"""\s[\w.-]+:gps\w*\s*=\s*("[^"]*"|'[^']*')""", re.IGNORECASE)


def released_metadata(found: Metadata, mode: str) -> Metadata:
    """The metadata that a released file gets. The colour profile and the resolution stay in every mode.

    Args:
        found: of the upright picture.
        mode: ``keep``, ``strip-gps`` (EXIF and XMP without the place; maker notes are not read) or ``strip``
            (no EXIF, no XMP).
    """
    if mode == "keep":
        return found
    if mode == "strip":
        return replace(found, exif=None, xmp=None)
    exif = None if found.exif is None else _without_gps(found.exif)
    xmp = None if found.xmp is None else _GPS_ATTRIBUTE.sub(b"", _GPS_ELEMENT.sub(b"", found.xmp))
    return replace(found, exif=exif, xmp=xmp)


def _without_gps(block: bytes) -> bytes | None:
    """The block with an empty GPS folder, everything else in its place; ``None`` when it can't be read."""
    start = len(_EXIF_NAME) if block.startswith(_EXIF_NAME) else 0
    order = {b"II": "<", b"MM": ">"}.get(block[start : start + 2])
    cleared = bytearray(block)
    if order is None:
        return None
    try:
        (folder,) = struct.unpack_from(order + "L", block, start + 4)
        for place in _entries(block, start + folder, order):
            if struct.unpack_from(order + "H", block, place)[0] == _GPS_FOLDER:
                (gps,) = struct.unpack_from(order + "L", block, place + 8)
                _clear(cleared, start, start + gps, order)
    except struct.error:
        return None
    return bytes(cleared)


def _entries(block: bytes | bytearray, folder: int, order: str) -> range:
    (count,) = struct.unpack_from(order + "H", block, folder)
    return range(folder + 2, folder + 2 + 12 * count, 12)


def _clear(block: bytearray, start: int, folder: int, order: str) -> None:
    """Zero a folder of tags, its number of tags included, and the values that lie elsewhere."""
    places = _entries(block, folder, order)
    for place in places:
        _, kind, count, value = struct.unpack_from(order + "HHLL", block, place)
        size = _BYTES_OF_TYPE.get(kind, 1) * count
        if size > 4:
            _zero(block, start + value, size)
    _zero(block, folder, 2 + 12 * len(places))


def _zero(block: bytearray, place: int, length: int) -> None:
    end = min(place + length, len(block))
    block[place:end] = bytes(max(0, end - place))
