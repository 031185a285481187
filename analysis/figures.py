"""Figures from a run's files."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

AMPLIFICATION = 10
"""The difference picture shows grey plus so many times the change."""


def difference(original: np.ndarray, released: np.ndarray, amplification: int = AMPLIFICATION) -> np.ndarray:
    """Grey plus the amplified change.

    Args:
        original: (H, W, 3) uint8.
        released: (H, W, 3) uint8.
        amplification: factor; changes that leave [0, 255] are cut.

    Returns:
        (H, W, 3) uint8.
    """
    change = released.astype(np.int16) - original.astype(np.int16)
    return np.clip(128 + amplification * change, 0, 255).astype(np.uint8)


def side_by_side(original: Path, released: Path, title: str) -> Figure:
    """Original, released file and amplified difference in a row.

    Args:
        original: an upright RGB picture.
        released: the released file, of the same size.
        title: e.g. the figures of its quality.
    """
    before, after = _pixels(original), _pixels(released)
    pictures = {
        "original": before,
        f"activated ({title})": after,
        f"difference, {AMPLIFICATION} times": difference(before, after),
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 12 / 3 * before.shape[0] / before.shape[1] + 0.4))
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture, interpolation="antialiased")
        axis.set_title(name, fontsize=11)
        axis.axis("off")
    figure.tight_layout(pad=0.4)
    return figure


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
