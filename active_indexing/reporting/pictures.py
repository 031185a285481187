"""Pixels for people to look at: upright, sRGB, 8 bits."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from active_indexing.images.decoding import read
from active_indexing.images.header import UnreadableImage
from active_indexing.reporting.runs import Run

EXACT_PIXELS = 4_000_000
"""Up to this size the most changed spot is found to the pixel."""


def pair(run: Run, row: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """Original and released picture of a manifest row.

    Returns:
        Two (H, W, 3) uint8; ``None`` when a file is gone or unreadable, or their sizes differ.
    """
    source, released = run.source_path(row["source"]), run.released_path(row["released"])
    if source is None or released is None:
        return None
    try:
        before, after = read(source).srgb, read(released).srgb
    except UnreadableImage:
        return None
    return (before, after) if before.shape == after.shape else None


def reduced(pixels: np.ndarray, edge: int) -> np.ndarray:
    """The picture with its longer edge at most ``edge`` pixels."""
    image = Image.fromarray(pixels)
    # reducing_gap: a fast halving first, so that a 12-megapixel photo takes milliseconds.
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.asarray(image)


def most_changed(before: np.ndarray, after: np.ndarray, size: int) -> tuple[slice, slice]:
    """The square of ``size`` pixels (or the image's edge, if smaller) with the largest squared change.

    In images above ``EXACT_PIXELS`` it is found on a grid of a few pixels, to save memory.
    """
    height, width = before.shape[:2]
    step = int(np.ceil(np.sqrt(height * width / EXACT_PIXELS)))
    change = _change(before, after, step)
    tall, wide = (max(1, min(size // step, edge)) for edge in change.shape)
    sums = np.pad(change.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    windows = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = (int(place) * step for place in np.unravel_index(windows.argmax(), windows.shape))
    return slice(top, top + min(size, height)), slice(left, left + min(size, width))


def _change(before: np.ndarray, after: np.ndarray, step: int) -> np.ndarray:
    """Squared change of each square of ``step`` pixels, (H // step, W // step) int64, band by band."""
    lines, columns = before.shape[0] // step, before.shape[1] // step
    change = np.empty((lines, columns), dtype=np.int64)
    for line in range(lines):
        band = (slice(line * step, (line + 1) * step), slice(0, columns * step))
        squares = np.square(after[band].astype(np.int32) - before[band]).sum(axis=(0, 2))
        change[line] = squares.reshape(columns, step).sum(axis=1)
    return change
