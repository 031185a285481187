"""How strong a change may be before the released file looks worse than asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from active_indexing.activation.perturbation.scaling import Perturbation, perturbed
from active_indexing.metrics.ssimulacra2 import ssimulacra2

SLACK = 0.3  # of SSIMULACRA2 above what was asked for, where the search stops
TRIALS = 10  # at most, for one image; 3 or 4 are usual
POWER = 0.9  # strength grows about like this power of 100 - SSIMULACRA2 between 70 and 95
MOST = 16.0  # times the change as it was made


def strength_for_quality(
    pixels: np.ndarray,
    change: Perturbation,
    quality: float,
    finish: Callable[[np.ndarray], np.ndarray] | None = None,
    most: float = MOST,
) -> tuple[float, float]:
    """The largest strength found at which the released pixels are good enough; never one that is not.

    Args:
        pixels: (H, W, 3) uint8.
        change: what is added.
        quality: the least SSIMULACRA2 against the pixels released without the change.
        finish: what the released format does to pixels, e.g. JPEG; nothing by default.
        most: the largest strength.

    Returns:
        (strength, SSIMULACRA2 met); (0, 100) where no change is good enough, or where there is none.
    """
    plain = pixels if finish is None else finish(pixels)
    low, high, strength, best = 0.0, np.inf, min(1.0, most), (0.0, 100.0)
    for _ in range(TRIALS):
        moved = perturbed(pixels, change, strength)
        met = ssimulacra2(plain, moved if finish is None else finish(moved))
        if met >= quality and strength > best[0]:
            best = strength, met
        if quality <= met <= quality + SLACK or (met >= quality and strength >= most):
            break
        low, high = (strength, high) if met >= quality else (low, min(high, strength))
        strength = _next(strength, met, quality, low, min(high, most))
    return best if best[1] < 100 else (0.0, 100.0)


def _next(strength: float, met: float, quality: float, low: float, high: float) -> float:
    """Where the quality is expected, kept between what was too weak and what was too strong."""
    wanted = 100 - quality - SLACK / 2
    step = strength * (wanted / max(100 - met, wanted / 8)) ** POWER
    if low < step < high:
        return step
    return high if met >= quality else (low + high) / 2
