"""Reading images: the only place that decodes pixels; ``encoding.py`` encodes them.

A photo is decoded once into a :class:`Picture`: the upright native pixels, their sRGB pixels, the
alpha plane and the metadata that goes back into the released file. Everything that cannot be
released safely raises :class:`UnreadableImage` with a reason for people.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from PIL import Image

from active_indexing.images import colour, metadata
from active_indexing.images.header import (
    UnreadableImage,
    check_file,
    cut_to_8_bit,
    one_line,
    open_still,
    quiet_pillow,
)
from active_indexing.images.picture import Metadata, Picture
from active_indexing.images.source_encoding import source_file

MAX_PIXELS = 100_000_000  # width x height; checked from the header, before any pixel is decoded
# Everything Pillow's decoders raise on damaged files; they have no common base class.
_DECODE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_Found = TypeVar("_Found")


def read(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one still image.

    Safe in threads.

    Args:
        path: an image file; its content counts, not its extension.
        max_pixels: largest width x height that is decoded.

    Returns:
        The picture.

    Raises:
        UnreadableImage: for anything but a whole still image of a supported format and size.
    """
    return _of_file(path, max_pixels, _decode)


def size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of a still image as they are stored, from its header: no pixel is decoded.

    A file that is damaged further on passes.

    Raises:
        UnreadableImage: what :func:`read` refuses of a header.
    """
    return _of_file(path, max_pixels, lambda image, _: image.size)


def _of_file(path: Path, max_pixels: int, look: Callable[[Image.Image, BinaryIO], _Found]) -> _Found:
    path = Path(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            return _read(file, max_pixels, look)
    except PermissionError:
        raise UnreadableImage("no permission to read the file") from None
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read ({one_line(error)})") from error


def read_bytes(content: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one still image from the bytes of its file; see :func:`read`.

    Raises:
        UnreadableImage: for anything but a whole still image of a supported format and size.
    """
    if not content:
        raise UnreadableImage("the file is empty")
    return _read(io.BytesIO(content), max_pixels, _decode)


def _read(file: BinaryIO, max_pixels: int, look: Callable[[Image.Image, BinaryIO], _Found]) -> _Found:
    try:
        with quiet_pillow, open_still(file, max_pixels) as image:
            return look(image, file)
    except UnreadableImage:
        raise
    except MemoryError:
        raise UnreadableImage("not enough memory to decode the image") from None
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"damaged or truncated file ({one_line(error)})") from error


def _decode(image: Image.Image, file: BinaryIO) -> Picture:
    notes = cut_to_8_bit(image)
    image.load()
    orientation = _or_dropped("orientation", metadata.orientation, image, 1, notes)
    exif_block = _or_dropped("EXIF", metadata.upright_block, image, None, notes)
    xmp = _or_dropped("XMP", metadata.upright_xmp, image.info.get("xmp"), None, notes)
    if orientation != 1:
        notes.append(f"turned upright (EXIF orientation {orientation})")
    try:
        planes = colour.planes(image, orientation)
    except ValueError as error:
        reason = f"the pixels cannot become 8-bit RGB ({one_line(error)})"
        raise UnreadableImage(reason) from error
    return Picture(
        native=planes.native,
        srgb=planes.srgb,
        alpha=planes.alpha,
        metadata=Metadata(
            icc_profile=planes.profile, exif=exif_block, xmp=xmp, dpi=metadata.resolution(image)
        ),
        notes=(*notes, *planes.notes),
        file=source_file(image, file),
    )


def _or_dropped(
    name: str, extract: Callable[[Any], _Found], source: Any, absent: _Found, notes: list[str]
) -> _Found:
    """Damaged metadata does not stop a picture: it is left out, with a note."""
    try:
        return extract(source)
    except _DECODE_ERRORS as error:
        notes.append(f"{name} dropped: {one_line(error)}")
        return absent
