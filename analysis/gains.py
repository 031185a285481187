"""How much more recall a method gains than the published one, over not moving images at all.

Recall is the mean over attacks of the mean over images of R@1. The gain ratio of a method is
(recall - passive recall) / (published recall - passive recall): 2 is twice the published gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from active_indexing.metrics.bootstrap import column_means, drawn_means, percentile_interval

SEEN = ("rotation", "center_crop", "blur", "hue", "contrast", "brightness")
"""Attacks whose kind is among the random edits that the robust method looks at (``activation/edits.py``)."""

UNSEEN = ("meme_format", "overlay_onto_screenshot", "auto", "jpeg", "resize")
"""Attacks whose kind is not: captions, screenshots, AugLy's random chains, recompression, another size."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95 % bootstrap interval over images; ``nan`` where there is none."""

    value: float
    low: float
    high: float


def familiarity(attack: str) -> str:
    """``seen``, ``unseen``, or nothing for an attack that is neither (``none``)."""
    return "seen" if attack in SEEN else "unseen" if attack in UNSEEN else ""


def recall(hits: np.ndarray, resamples: int, seed: int = 0) -> Estimate:
    """Mean over attacks of the mean over images.

    Args:
        hits: (images, attacks) float64: 1 found first, 0 not, ``nan`` where there is no copy.
        resamples: sets of images drawn for the interval.
        seed: of the draws.
    """
    return _estimate(_recall(hits), _drawn(hits, resamples, seed))


def gain(hits: np.ndarray, passive: np.ndarray, resamples: int, seed: int = 0) -> Estimate:
    """Recall of a method minus that of the passive arm, on the same images and attacks."""
    drawn = _drawn(hits, resamples, seed) - _drawn(passive, resamples, seed)
    return _estimate(_recall(hits) - _recall(passive), drawn)


def gain_ratio(
    hits: np.ndarray, passive: np.ndarray, published: np.ndarray, resamples: int, seed: int = 0
) -> Estimate:
    """Gain of a method over gain of the published one; all three are drawn together.

    Where the published method gains nothing the ratio is infinite if the method gains, else unknown.

    Args:
        hits: (images, attacks) of the method, as for :func:`recall`.
        passive: the same of the images as they are.
        published: the same of the published method.
        resamples: sets of images drawn for the interval.
        seed: of the draws.

    Raises:
        ValueError: the three are not of the same images and attacks.
    """
    if not hits.shape == passive.shape == published.shape:
        raise ValueError(
            f"a gain ratio compares the same copies, got {hits.shape}, {passive.shape} and "
            f"{published.shape} of method, passive and published arm."
        )
    ours, base, theirs = (_drawn(each, resamples, seed) for each in (hits, passive, published))
    before = _recall(passive)
    value = _ratio(np.array([_recall(hits) - before]), np.array([_recall(published) - before]))[0]
    return _estimate(float(value), _ratio(ours - base, theirs - base))


def _recall(hits: np.ndarray) -> float:
    return float(column_means(hits).mean())


def _drawn(hits: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples,) recall of each drawn set of images; the same sets for the same number of images."""
    return drawn_means(hits, resamples, seed).mean(axis=1)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    otherwise = np.where(above > 0, np.inf, np.nan)
    return np.divide(above, below, out=otherwise, where=below > 0)


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    ends = percentile_interval(drawn)
    return Estimate(value, ends.low, ends.high)
