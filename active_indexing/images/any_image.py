"""An image in whatever form a caller has it, as pixels or as a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.images import decoding
from active_indexing.images.header import UnreadableImage, check_file, one_line

AnyImage = Path | str | bytes | Image.Image | np.ndarray
"""A path, the bytes of a file, an image of Pillow, or (H, W, 3) uint8 sRGB."""

# Pillow's modes that a file holds without loss, and what others become.
_KINDS = {"CMYK": "TIFF"} | dict.fromkeys(("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"), "PNG")
_CONVERTED = {"RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}


def srgb_of(image: AnyImage) -> tuple[np.ndarray, bytes | None]:
    """Pixels of an image, and the bytes of its file where it is one.

    Returns:
        (H, W, 3) uint8 sRGB, upright, transparency on white; the file's bytes or ``None``.

    Raises:
        UnreadableImage: a file that is no whole still image.
        ValueError: an array or an image of Pillow of another kind.
        TypeError: anything else.
    """
    if isinstance(image, Path | str):
        return decoding.read(Path(image)).srgb, Path(image).read_bytes()
    if isinstance(image, bytes):
        return decoding.read_bytes(image).srgb, image
    if isinstance(image, Image.Image):
        return decoding.read_bytes(file_of(image)).srgb, None
    return _checked(image), None


def file_of(image: AnyImage) -> bytes:
    """The bytes of a file that holds an image: its own, or for an image in memory a PNG (of CMYK a TIFF).

    Raises:
        UnreadableImage: a path that leads to no readable file, or an image of Pillow whose file is damaged.
        ValueError: an array or an image of Pillow of another kind.
        TypeError: anything else.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, Path | str):
        check_file(Path(image))
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise UnreadableImage(f"the file cannot be read ({one_line(error)})") from error
    return _saved(image if isinstance(image, Image.Image) else Image.fromarray(_checked(image)))


def pillow_of(content: bytes) -> Image.Image:
    """The image in the bytes of a file that this program wrote, with its profile and metadata in ``info``."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def _checked(image: Any) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "an image is a path, the bytes of a file, an image of Pillow, an array (H, W, 3) of uint8 or a "
            f"tensor (3, H, W); got a {type(image).__name__}."
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image is an array (H, W, 3) of uint8 sRGB; got {image.dtype} {image.shape}.")
    return image


def _saved(image: Image.Image) -> bytes:
    """Orientation, profile and resolution travel; Pillow's own ``save`` forgets all but the profile."""
    if image.mode in _CONVERTED:
        image = image.convert(_CONVERTED[image.mode])
    if image.mode not in _KINDS:
        raise ValueError(
            f"an image of Pillow's mode {image.mode} has no agreed range of values; convert it to RGB first."
        )
    known = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    content = io.BytesIO()
    try:
        image.save(content, _KINDS[image.mode], exif=image.getexif(), **known)
    except (OSError, SyntaxError) as error:  # pixels are decoded only now
        raise UnreadableImage(f"damaged or truncated file ({one_line(error)})") from error
    return content.getvalue()
