"""Released images beside their originals, small enough to be embedded in a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from active_indexing.reporting import pictures
from active_indexing.reporting.image_quality import worst_first
from active_indexing.reporting.runs import Run

WORST, SAMPLE = 12, 18
"""Images shown: those with the lowest PSNR, and others spread evenly over the rest."""

EDGE = 360
"""Longer edge of a thumbnail, pixels: with ``WORST + SAMPLE`` pairs, even of noise, a page is below 20 MB."""

SPOT = 160
"""Edge of the most changed spot, which is shown pixel by pixel."""


@dataclass(frozen=True)
class Card:
    """One image of the gallery.

    Attributes:
        name: path of the input in its folder.
        width: pixels of the thumbnails.
        height: pixels of the thumbnails.
        before: data URL of the original, reduced.
        after: data URL of the released file, reduced.
        spot_before: data URL of the original's pixels where most changed; empty when not wanted.
        spot_after: the same place of the released file.
        figures: what was measured, ready to be read.
        worst: whether it is among the most changed images.
    """

    name: str
    width: int
    height: int
    before: str
    after: str
    spot_before: str
    spot_after: str
    figures: tuple[str, ...]
    worst: bool


def chosen(released: pd.DataFrame, worst: int = WORST, sample: int = SAMPLE) -> tuple[pd.DataFrame, int]:
    """The rows to show: the most changed images, worst first, then a sample of the others.

    Args:
        released: manifest rows.
        worst: how many of the most changed.
        sample: how many others, evenly spaced from worst to best.

    Returns:
        Rows, and how many of them are the most changed. Images that did not change are never shown.
    """
    changed = released[np.isfinite(released["psnr"].astype(float))]
    ranked = worst_first(changed)
    rest = ranked.iloc[worst:]
    places = np.unique(np.linspace(0, len(rest) - 1, min(sample, len(rest))).round().astype(int))
    return pd.concat([ranked.head(worst), rest.iloc[places]]), min(worst, len(ranked))


def cards(run: Run, worst: int = WORST, sample: int = SAMPLE) -> list[Card]:
    """The gallery of a run; images that are no longer there, or cannot be read, are left out."""
    rows, most_changed = chosen(run.released, worst, sample)
    found = _found_first(run)
    made = []
    for place, (_, row) in enumerate(rows.iterrows()):
        pair = pictures.pair(run, row)
        if pair is not None:
            name = run.short_name(row["source"])
            made.append(_card(name, row, pair, found.get(row["id"], ""), worst=place < most_changed))
    return made


def _card(name: str, row: pd.Series, pair: tuple[np.ndarray, np.ndarray], found: str, worst: bool) -> Card:
    before, after = pair
    small = [pictures.reduced(each, EDGE) for each in pair]
    box = pictures.most_changed(before, after, SPOT)
    spot_before, spot_after = (_png(each[box]) if worst else "" for each in pair)
    height, width = small[0].shape[:2]
    figures = [f"PSNR {row['psnr']:.1f} dB", f"SSIM {row['ssim']:.4f}", f"L∞ {row['linf']:.0f}"]
    if not pd.isna(row.get("ssimulacra2")):
        figures.insert(0, f"SSIMULACRA2 {row['ssimulacra2']:.1f}")
    if not pd.isna(row["cell_before"]) and not pd.isna(row["cell_after"]):
        stays = row["cell_before"] == row["cell_after"]
        figures.append("stays in its cell" if stays else "leaves its cell")
    figures += [found] if found else []
    urls = (jpeg_url(small[0]), jpeg_url(small[1]), spot_before, spot_after)
    return Card(name, width, height, *urls, tuple(figures), worst)


def _found_first(run: Run) -> dict[int, str]:
    """Image -> after how many attacks it came back first."""
    if run.retrieval is None:
        return {}
    groups = run.retrieval.groupby("image_index")["r@1"]
    counts = zip(groups.sum().items(), groups.size(), strict=True)
    return {image: f"found first after {first} of {attacks} attacks" for (image, first), attacks in counts}


def jpeg_url(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 as a data URL of a JPEG."""
    return data_url(pixels, "jpeg", quality=82, subsampling=0)


def _png(pixels: np.ndarray) -> str:
    return data_url(pixels, "png")


def data_url(pixels: np.ndarray, kind: str, **settings: int) -> str:
    """(H, W, 3) uint8 as a data URL of a file of that kind; ``settings`` are those of Pillow's writer."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
