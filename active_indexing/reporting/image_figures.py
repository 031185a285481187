"""Pictures of released images beside their originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from active_indexing.images.decoding import read
from active_indexing.reporting import pictures
from active_indexing.reporting.runs import Run

AMPLIFICATION = 10
"""The difference picture shows grey plus so many times the change."""

COLUMN_TITLES = ("original", "activated", f"difference, {AMPLIFICATION} times")


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
    before, after = (read(path).srgb for path in (original, released))
    shown = {
        "original": before,
        f"activated ({title})": after,
        COLUMN_TITLES[2]: difference(before, after),
    }
    figure = Figure(figsize=(12, 12 / 3 * before.shape[0] / before.shape[1] + 0.4))
    for axis, (name, picture) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        axis.imshow(picture, interpolation="antialiased")
        axis.set_title(name, fontsize=11)
        axis.axis("off")
    figure.tight_layout(pad=0.4)
    return figure


def compare(run: Run, row: pd.Series) -> Figure | None:
    """``side_by_side`` of one row of a run's manifest, or ``None`` when a file is no longer there."""
    source, released = run.source_path(row["source"]), run.released_path(row["released"])
    if source is None or released is None:
        return None
    return side_by_side(source, released, f"PSNR {row['psnr']:.1f} dB, SSIM {row['ssim']:.3f}")


def worst_images(run: Run, count: int = 10, by: str = "psnr") -> pd.DataFrame:
    """The released images that changed most, worst first.

    Args:
        run: its manifest is read.
        count: how many.
        by: ``psnr``, ``ssim`` or ``ssimulacra2``, smallest first, or another measure, largest first.
    """
    return run.released.sort_values(by, ascending=by in ("psnr", "ssim", "ssimulacra2"), kind="stable").head(
        count
    )


def image_rows(run: Run, rows: pd.DataFrame) -> Figure | None:
    """Original, released file, amplified difference and the spot that changed most, one image per row.

    Args:
        run: where the images are.
        rows: of its manifest.

    Returns:
        ``None`` when none of the images is there any more.
    """
    found = [(row, pair) for _, row in rows.iterrows() if (pair := pictures.pair(run, row)) is not None]
    if not found:
        return None
    figure = Figure(figsize=(12, 3.15 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 4, squeeze=False)
    for line, (row, (before, after)) in zip(axes, found, strict=True):
        box = pictures.most_changed(before, after, size=96)
        changed = difference(before, after)
        shown = (*(pictures.reduced(each, 480) for each in (before, after, changed)), after[box])
        titles = (Path(row["source"]).name, _quality(row), COLUMN_TITLES[2], "activated, most changed spot")
        for axis, picture, title in zip(line, shown, titles, strict=True):
            axis.imshow(picture, interpolation="nearest" if picture is shown[3] else "antialiased")
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    return figure


def _quality(row: pd.Series) -> str:
    return f"activated: {row['psnr']:.1f} dB, SSIM {row['ssim']:.3f}, L∞ {row['linf']:.0f}"
