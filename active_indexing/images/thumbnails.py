"""Small pictures of large ones, for pages."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from active_indexing.images.decoding import read

QUALITY = 85


def jpeg_thumbnail(path: Path, edge: int) -> bytes:
    """A small JPEG of an image file: sRGB, upright, transparency on white, without metadata.

    Args:
        path: an image file.
        edge: most pixels of its longer side; smaller images stay as large as they are.

    Raises:
        UnreadableImage: the file is missing or no whole image.
    """
    return small_jpeg(Image.fromarray(read(path).srgb), edge)


def small_jpeg(image: Image.Image, edge: int) -> bytes:
    """The same of an RGB image, which becomes smaller in place."""
    # reducing_gap: a fast halving first, so that a 12-megapixel photo takes milliseconds.
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
