"""Scores that mean the same for every query.

[ISC21] Douze et al., "The 2021 Image Similarity Dataset and Challenge": a query's similarity to images that
are known not to match it is subtracted from its scores. SSCD (Pizzi et al., CVPR 2022) does it with factor 1
and the mean of the three nearest training images. In an index, the next neighbour takes their place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch

from active_indexing.evaluation.protocols.exact_search import ExactSearch, best_per_query

_RANKS = re.compile(r"(?P<factor>[\d.]+)\[(?P<first>\d+)(,(?P<last>\d+))?\]")
_NAMED = re.compile(r"(?P<factor>[\d.]+)\*(?P<rule>mean|avg|min)(?P<n>\d+)")


@dataclass(frozen=True)
class ScoreNormalization:
    """score = inner product - factor * mean inner product with the training images of some ranks.

    Attributes:
        factor: weight of what is subtracted.
        first: rank of the nearest training image that counts, from 0.
        last: rank of the last one that counts.
    """

    factor: float = 1.0
    first: int = 0
    last: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or not self.factor > 0:
            raise ValueError(
                f"score normalisation needs a positive factor and ranks 0 <= first <= last, got "
                f"{self.factor}, {self.first} and {self.last}."
            )

    @classmethod
    def mean_of(cls, n: int, factor: float = 1.0) -> ScoreNormalization:
        """Subtract the mean of the n highest inner products."""
        return cls(factor, 0, n - 1)

    @classmethod
    def minimum_of(cls, n: int, factor: float = 1.0) -> ScoreNormalization:
        """Subtract the smallest of the n highest inner products."""
        return cls(factor, n - 1, n - 1)

    @property
    def name(self) -> str:
        """As the published tables print it: ``1.00[0,2]``."""
        return f"{self.factor:.2f}[{self.first},{self.last}]"

    def offsets(self, queries: np.ndarray, training: np.ndarray, device: torch.device) -> np.ndarray:
        """What is subtracted from the inner products of each query.

        Args:
            queries: (Q, D) floats.
            training: (T, D) floats of images that match none of the queries.
            device: where they are compared.

        Returns:
            (Q,) float64.

        Raises:
            ValueError: fewer training images than ranks.
        """
        if len(training) <= self.last:
            raise ValueError(
                f"score normalisation {self.name} needs at least {self.last + 1} training images, "
                f"got {len(training)}."
            )
        search = ExactSearch(queries, training, np.zeros(len(queries)), device)
        nearest = best_per_query(search, self.last + 1).scores.reshape(len(queries), self.last + 1)
        return self.factor * nearest[:, self.first :].mean(axis=1)


def parse_score_normalization(text: str) -> ScoreNormalization | None:
    """Read ``1.0[0,2]`` (factor and ranks), ``2*mean10``, ``2*min10`` (the challenge's words) or ``none``.

    Raises:
        ValueError: none of them.
    """
    if text.strip().lower() == "none":
        return None
    ranks, named = _RANKS.fullmatch(text.strip()), _NAMED.fullmatch(text.strip())
    try:
        if ranks:
            last = ranks["last"] or ranks["first"]
            return ScoreNormalization(float(ranks["factor"]), int(ranks["first"]), int(last))
        if named:
            rule = ScoreNormalization.minimum_of if named["rule"] == "min" else ScoreNormalization.mean_of
            return rule(int(named["n"]), float(named["factor"]))
    except ValueError as error:
        raise ValueError(f"score normalisation {text!r}: {error}") from error
    raise ValueError(
        f"score normalisation {text!r} is none of: none, FACTOR[FIRST,LAST] such as 1.0[0,2], FACTOR*meanN, "
        "FACTOR*minN."
    )
