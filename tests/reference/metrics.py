"""Metrics, slow and obvious: plain loops over sorted pairs."""

from __future__ import annotations

from collections.abc import Sequence


def micro_average_precision(scores: Sequence[float], correct: Sequence[bool], positives: int) -> float:
    """Walk down the ranking, wrong pairs first among equal scores; sum precision at every right pair."""
    pairs = sorted(zip(scores, correct, strict=True), key=lambda pair: (-pair[0], pair[1]))
    total, right = 0.0, 0
    for place, (_, is_right) in enumerate(pairs, start=1):
        if is_right:
            right += 1
            total += right / place
    return total / positives
