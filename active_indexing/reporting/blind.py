"""A blind test on one page: can you tell which of two pictures was activated?

Two-alternative forced choice. Whoever sees nothing guesses, and is right in half of the pairs; the verdict is
the exact binomial tail of that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import binom

from active_indexing.artefacts.atomic import write_text
from active_indexing.images.decoding import read
from active_indexing.images.header import UnreadableImage
from active_indexing.reporting import pictures
from active_indexing.reporting.gallery import data_url
from active_indexing.reporting.runs import Run

PAIRS = 20
"""Who is right in three of four pairs is told from a guesser in two of three tests of 20 pairs."""

EDGE = 512
"""Of the part that is shown, pixel by pixel, where an image is larger: two of them fit beside each other."""

SEEN = 0.05
"""Chance of so many right answers by guessing, below which the page says that the change was seen."""


@dataclass(frozen=True)
class Pair:
    """One picture in both forms.

    Attributes:
        name: path of the input in its folder.
        plain: data URL of a lossless picture without activation.
        activated: the same place of the released file.
        width: pixels.
        height: pixels.
    """

    name: str
    plain: str
    activated: str
    width: int
    height: int


def write_blind_test(
    run: Run, to: Path, *, baseline: Run | None = None, pairs: int = PAIRS, seed: int = 0
) -> int:
    """Write the page; it needs no other file and no network, and 20 pairs of photos take about 15 MB.

    Args:
        run: whose released files are looked at.
        to: the page.
        baseline: a run without activation of the same images. Its files take the place of the inputs, so
            that compression of JPEG and WebP is on both sides.
        pairs: at most so many images, drawn at random.
        seed: of that draw. Which side an image is on is drawn anew whenever the page is opened.

    Returns:
        How many pairs it has.

    Raises:
        ValueError: no image of the run was changed, or none can be shown.
    """
    if pairs < 1:
        raise ValueError(f"a test needs at least 1 pair, got {pairs}.")
    shown = _pairs(run, baseline, pairs, seed)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    html = environment.get_template("blind.html").render(
        pairs=[vars(pair) for pair in shown], chances=chances(len(shown)), seen=SEEN, name=run.name
    )
    write_text(to, html)
    return len(shown)


def chances(pairs: int) -> list[float]:
    """Of k or more right answers by guessing, for k from 0 to ``pairs``."""
    return [float(binom.sf(right - 1, pairs, 0.5)) for right in range(pairs + 1)]


def _pairs(run: Run, baseline: Run | None, count: int, seed: int) -> list[Pair]:
    changed = run.released[np.isfinite(run.released["psnr"].astype(float))]
    rows = [row for _, row in changed.iterrows()]
    if not rows:
        raise ValueError(f"{run.folder} has no image that was changed: give the folder of an active run.")
    random.Random(seed).shuffle(rows)
    found: list[Pair] = []
    for row in rows:
        both = pictures.pair(run, row) if baseline is None else _beside(baseline, run, row)
        if both is not None:
            found.append(_pair(run.short_name(row["source"]), *both))
        if len(found) == count:
            break
    if not found:
        kind = "inputs" if baseline is None else f"released files of {baseline.folder}"
        raise ValueError(f"no image of {run.folder} can be shown: its {kind} are gone or of other sizes.")
    return found


def _beside(baseline: Run, run: Run, row: pd.Series) -> tuple[np.ndarray, np.ndarray] | None:
    """The baseline's released picture and this run's."""
    same = baseline.released[baseline.released["id"] == row["id"]]
    plain = baseline.released_path(same.iloc[0]["released"]) if len(same) else None
    activated = run.released_path(row["released"])
    if plain is None or activated is None:
        return None
    try:
        both = read(plain).srgb, read(activated).srgb
    except UnreadableImage:
        return None
    return both if both[0].shape == both[1].shape else None


def _pair(name: str, plain: np.ndarray, activated: np.ndarray) -> Pair:
    place = pictures.most_changed(plain, activated, EDGE)
    height, width = plain[place].shape[:2]
    before, after = (data_url(each[place], "webp", lossless=True) for each in (plain, activated))
    return Pair(name, before, after, width, height)
