"""An image in whatever form a caller has it, as pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from active_indexing.images import decoding

AnyImage = Path | str | bytes | Image.Image | np.ndarray
"""A path, the bytes of a file, an image of Pillow, or (H, W, 3) uint8 sRGB."""


def srgb_of(image: AnyImage) -> tuple[np.ndarray, bytes | None]:
    """Pixels of an image, and the bytes of its file where it is one.

    Returns:
        (H, W, 3) uint8 sRGB, upright, transparency on white; the file's bytes or ``None``.

    Raises:
        UnreadableImage: a file that is no whole still image.
        ValueError: an array of another kind.
    """
    if isinstance(image, Path | str):
        return decoding.read(Path(image)).srgb, Path(image).read_bytes()
    if isinstance(image, bytes):
        return decoding.read_bytes(image).srgb, image
    if isinstance(image, Image.Image):
        content = io.BytesIO()
        image.save(content, "PNG")  # what Pillow knows of the image travels: orientation, profile, palette
        return decoding.read_bytes(content.getvalue()).srgb, None
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise ValueError(f"an image is an array (H, W, 3) of uint8 sRGB; got {pixels.dtype} {pixels.shape}.")
    return pixels, None
