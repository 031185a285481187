"""Reading and listing images: the only place that decodes pixels; ``encodings.py`` encodes them.

A photo is decoded once into a :class:`Picture`: the upright native pixels, their sRGB view, the
alpha plane and the metadata that goes back into the released file. Everything that cannot be
released safely raises :class:`UnreadableImage` with a reason for people.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image

from active_indexing import colour, exif
from active_indexing.opening import (
    UnreadableImage,
    check_file,
    cut_to_8_bit,
    one_line,
    open_still,
    quiet_pillow,
    suffixes,
)
from active_indexing.source_file import SourceFile, source_file

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


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What travels from the source file to the released file besides pixels.

    Attributes:
        icc_profile: profile of the native RGB values, or None for sRGB.
        exif: EXIF block with the orientation reset, or None.
        xmp: XMP packet in UTF-8, or None.
        dpi: horizontal and vertical dots per inch, or None.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One decoded still image.

    Attributes:
        native: (H, W, 3) uint8, upright, in the file's own RGB colour space; what is released,
            plus the perturbation. Fully transparent pixels keep their colours.
        view: (H, W, 3) uint8 sRGB, alpha composited on white: what descriptor and attacks see.
            The same array as ``native`` when nothing differs.
        alpha: (H, W) uint8, or None for an opaque file.
        metadata: what goes back into the released file.
        notes: what decoding had to change, e.g. "16-bit reduced to 8-bit".
        file: how the file stored its pixels.
    """

    native: np.ndarray
    view: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    notes: tuple[str, ...]
    file: SourceFile = field(default_factory=SourceFile)


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
    path = Path(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            return _read(file, max_pixels)
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
    return _read(io.BytesIO(content), max_pixels)


def find_images(root: Path, exclude: Path | None = None) -> list[Path]:
    """Image files below a folder, by extension, in a stable order.

    Hidden files and folders are skipped. Symbolic links to files are followed, links to folders
    are not, so there are no loops.

    Args:
        root: a folder, or a single file, which is returned whatever its name.
        exclude: a folder whose contents are skipped, e.g. an output folder inside ``root``.

    Returns:
        Paths that begin with ``root``, sorted by their path relative to it.

    Raises:
        FileNotFoundError: if ``root`` does not exist.
        PermissionError: if a folder below ``root`` cannot be listed.
    """
    root = Path(root)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileNotFoundError(f"no file or folder {root}; give a folder of images or one image")
    endings = suffixes()
    excluded = None if exclude is None else Path(os.path.realpath(exclude))
    found = []
    for folder, subfolders, names in os.walk(root, onerror=_cannot_list):
        if excluded is not None and Path(os.path.realpath(folder)).is_relative_to(excluded):
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        visible = (name for name in names if not name.startswith("."))
        found += [Path(folder, n) for n in visible if os.path.splitext(n)[1].lower() in endings]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def to_tensor(rgb: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    planes = np.array(rgb.transpose(2, 0, 1), order="C")  # torch refuses negative strides
    return torch.from_numpy(planes).float().div_(255)


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """(3, H, W) float in [0, 1] to (H, W, 3) uint8: clamped, then rounded with halves up.

    Raises:
        ValueError: if a value is not finite.
    """
    if not bool(torch.isfinite(pixels).all()):
        raise ValueError("pixels hold NaN or infinite values; expected numbers in [0, 1]")
    levels = pixels.detach().clamp(0, 1).mul_(255).add_(0.5).floor_().to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


def _read(file: BinaryIO, max_pixels: int) -> Picture:
    try:
        with quiet_pillow, open_still(file, max_pixels) as image:
            return _decode(image, file)
    except UnreadableImage:
        raise
    except MemoryError:
        raise UnreadableImage("not enough memory to decode the image") from None
    except _DECODE_ERRORS as error:
        raise UnreadableImage(f"damaged or truncated file ({one_line(error)})") from error


def _cannot_list(error: OSError) -> None:
    raise PermissionError(
        f"cannot list the folder {error.filename} ({error.strerror}); allow reading it, or move it elsewhere"
    ) from error


def _decode(image: Image.Image, file: BinaryIO) -> Picture:
    notes = cut_to_8_bit(image)
    image.load()
    orientation = _or_dropped("orientation", exif.orientation, image, 1, notes)
    exif_block = _or_dropped("EXIF", exif.upright_block, image, None, notes)
    xmp = _or_dropped("XMP", exif.upright_xmp, image.info.get("xmp"), None, notes)
    if orientation != 1:
        notes.append(f"turned upright (EXIF orientation {orientation})")
    try:
        planes = colour.planes(image, orientation)
    except ValueError as error:
        reason = f"the pixels cannot become 8-bit RGB ({one_line(error)})"
        raise UnreadableImage(reason) from error
    return Picture(
        native=planes.native,
        view=planes.view,
        alpha=planes.alpha,
        metadata=Metadata(icc_profile=planes.profile, exif=exif_block, xmp=xmp, dpi=exif.resolution(image)),
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
