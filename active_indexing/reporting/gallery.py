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

EDGE = 320
"""Longer edge of a thumbnail, pixels: with ``WORST + SAMPLE`` images a page is 7 MB, of noise below 25 MB."""

SPOT, SMALL_SPOT = 256, 128
"""Edge of the most changed spot of the most changed images, and of the others, shown pixel by pixel."""

AMPLIFICATION = 30
"""The difference shows so many times the change: one grey level is seen, 9 are as bright as can be."""


@dataclass(frozen=True)
class Card:
    """One image of the gallery.

    Attributes:
        name: path of the input in its folder.
        width: pixels of the thumbnails.
        height: pixels of the thumbnails.
        before: data URL of the original, reduced.
        after: data URL of the released file, reduced.
        difference: data URL of ``AMPLIFICATION`` times the change, reduced.
        spot_width: pixels of the spot.
        spot_height: pixels of the spot.
        spot_before: data URL of the original's pixels where most changed.
        spot_after: the same place of the released file.
        figures: what was measured, ready to be read.
        worst: whether it is among the most changed images.
    """

    name: str
    width: int
    height: int
    before: str
    after: str
    difference: str
    spot_width: int
    spot_height: int
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
    small = [pictures.reduced(each, EDGE) for each in (*pair, amplified(*pair))]
    box = pictures.most_changed(*pair, SPOT if worst else SMALL_SPOT)
    spots = [each[box] for each in pair]
    figures = [f"PSNR {row['psnr']:.1f} dB", f"SSIM {row['ssim']:.4f}", f"L∞ {row['linf']:.0f}"]
    if not pd.isna(row.get("ssimulacra2")):
        figures.insert(0, f"SSIMULACRA2 {row['ssimulacra2']:.1f}")
    if not pd.isna(row["cell_before"]) and not pd.isna(row["cell_after"]):
        stays = row["cell_before"] == row["cell_after"]
        figures.append("stays in its cell" if stays else "leaves its cell")
    figures += [found] if found else []
    return Card(
        name=name,
        width=small[0].shape[1],
        height=small[0].shape[0],
        before=jpeg_url(small[0]),
        after=jpeg_url(small[1]),
        difference=data_url(small[2], "jpeg", quality=70),
        spot_width=spots[0].shape[1],
        spot_height=spots[0].shape[0],
        spot_before=data_url(spots[0], "png"),
        spot_after=data_url(spots[1], "png"),
        figures=tuple(figures),
        worst=worst,
    )


def amplified(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The size of the change, ``AMPLIFICATION`` times, on black.

    Without its sign it does not cancel when the picture is reduced.

    Args:
        before: (H, W, 3) uint8.
        after: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8; changes that leave [0, 255] are cut.
    """
    change = np.maximum(before, after) - np.minimum(before, after)
    return np.minimum(np.arange(256) * AMPLIFICATION, 255).astype(np.uint8)[change]


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


def data_url(pixels: np.ndarray, kind: str, **settings: int) -> str:
    """(H, W, 3) uint8 as a data URL of a file of that kind; ``settings`` are those of Pillow's writer."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
