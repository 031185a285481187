"""Pixels for people to look at: upright, sRGB, 8 bits."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from active_indexing import colour, exif
from active_indexing.opening import cut_to_8_bit, open_still, quiet_pillow
from analysis.runs import Run

MAX_PIXELS = 100_000_000
"""Larger pictures are not shown; the program skips them too."""

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error)
"""What Pillow raises for files that it cannot decode."""


def read(path: Path) -> np.ndarray:
    """The picture in a file, decoded as the program does.

    Returns:
        (H, W, 3) uint8 sRGB, upright, transparency on white.
    """
    with open(path, "rb") as file, quiet_pillow, open_still(file, MAX_PIXELS) as image:
        cut_to_8_bit(image)
        image.load()
        return colour.planes(image, exif.orientation(image)).view


def pair(run: Run, row: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Original and released picture of a manifest row.

    Returns:
        Two (H, W, 3) uint8; ``None`` when a file is gone or unreadable, or their sizes differ.
    """
    source, released = run.source_path(row["source"]), run.released_path(row["released"])
    if source is None or released is None:
        return None
    try:
        before, after = read(source), read(released)
    except UNREADABLE:
        return None
    return (before, after) if before.shape == after.shape else None


def reduced(pixels: np.ndarray, edge: int) -> np.ndarray:
    """The picture with its longer edge at most ``edge`` pixels."""
    image = Image.fromarray(pixels)
    # reducing_gap: a fast halving first, so that a 12-megapixel photo takes milliseconds.
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(image)


def most_changed(before: np.ndarray, after: np.ndarray, size: int) -> tuple[slice, slice]:
    """The square of ``size`` pixels (or the image's edge, if smaller) with the largest squared change."""
    height, width = before.shape[:2]
    change = ((after.astype(np.int32) - before) ** 2).sum(axis=2)
    sums = np.zeros((height + 1, width + 1), dtype=np.int64)
    sums[1:, 1:] = change.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    tall, wide = min(size, height), min(size, width)
    windows = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(windows.argmax(), windows.shape)
    return slice(int(top), int(top) + tall), slice(int(left), int(left) + wide)
