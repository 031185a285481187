"""How near strangers come: what a score is worth, and where the threshold lies.

A stranger's best score among many images is the largest of many, so it follows a Gumbel distribution (Fisher
and Tippett 1928; Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, section 3.1).
Fitted on the quartiles it does not mind that some of the images are look-alikes of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

UNSURE = 10.0
"""An answer that strangers reach up to so many times as often as was asked for is called unsure."""

OBSERVED = 5
"""Strangers beyond a threshold that make it an observation: fewer would put its true rate anywhere within a
factor of three."""

CONFIDENCE = 0.95
"""With which the true rate of false positives is below the one asked for."""

LEAST_SCORES = 8
"""Scores that a fit needs."""


@dataclass(frozen=True)
class Strangers:
    """Distribution of the best score of queries that match nothing.

    Attributes:
        location: of the Gumbel distribution.
        scale: of it, positive.
        count: queries it was fitted on.
        images: that each of these queries was compared with; among more, strangers come nearer.
        scores: of queries that surely match nothing, the best first; empty when they may be look-alikes.
    """

    location: float
    scale: float
    count: int
    images: int
    scores: tuple[float, ...] = ()

    def threshold(self, rate: float, images: int) -> float:
        """The score that at most a share of ``rate`` of strangers exceeds.

        Of sure strangers an order statistic, low enough in rank that the true rate is below ``rate`` with
        ``CONFIDENCE``; where too few exceed it to tell, the quantile of the distribution.

        Args:
            rate: in (0, 1).
            images: in the store now. The largest of n times as many values lies ``scale * ln(n)`` higher.
        """
        grown = self._grown(images)
        exceed = self.exceeding(rate)
        if exceed is not None:
            return self.scores[exceed] + grown
        return self.location - self.scale * math.log(-math.log1p(-rate)) + grown

    def exceeding(self, rate: float) -> int | None:
        """How many of the observed strangers exceed the threshold; ``None`` when it is no observation.

        The true rate beyond the (a + 1)-th largest of n scores is Beta(a + 1, n - a) (David and Nagaraja,
        "Order Statistics", 2003, section 2.2).
        """
        count = len(self.scores)
        most = np.arange(int(rate * count) + 1)
        sure = most[stats.beta.ppf(CONFIDENCE, most + 1, count - most) <= rate] if count else most[:0]
        return int(sure[-1]) if len(sure) and sure[-1] >= OBSERVED else None

    def normalized(self, score: float, images: int) -> float:
        """A score in standard deviations above the mean best score of strangers."""
        mean = self.location + self.scale * np.euler_gamma + self._grown(images)
        return (score - mean) / (self.scale * math.pi / math.sqrt(6))

    def _grown(self, images: int) -> float:
        return self.scale * math.log(max(1, images) / max(1, self.images))

    def of_views(self, views: float) -> Strangers:
        """The same of queries of several views: at most as if the store held as many times the images."""
        return replace(self, location=self.location + self.scale * math.log(views))


def fitted(scores: np.ndarray, images: int) -> Strangers | None:
    """The distribution of strangers' best scores; ``None`` when there are fewer than ``LEAST_SCORES``.

    Args:
        scores: (N,) best score of each query that matches nothing.
        images: that each was compared with.
    """
    scores = scores[np.isfinite(scores)]
    if len(scores) < LEAST_SCORES:
        return None
    low, high = np.quantile(scores, [0.25, 0.75])
    # Quantiles of the standard Gumbel: -ln(-ln p).
    at_low, at_high = (-math.log(-math.log(p)) for p in (0.25, 0.75))
    scale = max(float(high - low) / (at_high - at_low), 1e-6)
    return Strangers(float(low) - scale * at_low, scale, len(scores), images)


def leave_one_out(descriptors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Best similarity of each image to the others, as if it were a query that matches nothing.

    Args:
        descriptors: (N, D) float32 of different images, unit norm.
        others: (M, D) float32 of images that are none of them.

    Returns:
        (N,) float32; ``-inf`` where there is nothing to compare with.
    """
    similarity = descriptors @ descriptors.T
    np.fill_diagonal(similarity, -np.inf)
    best = similarity.max(axis=1, initial=-np.inf)
    return np.maximum(best, (descriptors @ others.T).max(axis=1, initial=-np.inf))


def spread_of(descriptors: np.ndarray) -> float:
    """Standard deviation of the similarity of different images, from (N, D) float32.

    With fewer than two images that of random directions, 1 / sqrt(D).
    """
    count, dim = descriptors.shape
    if count < LEAST_SCORES:
        return 1 / math.sqrt(dim)
    similarity = descriptors @ descriptors.T
    pairs = similarity[np.triu_indices(count, 1)]
    low, high = np.quantile(pairs, [0.16, 0.84])  # of a normal distribution one deviation from the mean
    return float(high - low) / 2
