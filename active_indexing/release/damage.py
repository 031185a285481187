"""What was lost in a released image, by every measure the manifest has."""

from __future__ import annotations

from typing import Any

import numpy as np

from active_indexing.metrics import image_quality
from active_indexing.metrics.butteraugli import butteraugli, installed
from active_indexing.metrics.color_difference import color_difference
from active_indexing.metrics.ssimulacra2 import ssimulacra2

BUTTERAUGLI_PIXELS = 2_000_000
"""Larger images have no Butteraugli in the manifest: it takes a second and 0.2 GB per megapixel."""


def measured(plain: np.ndarray, released: np.ndarray, known: float | None = None) -> dict[str, Any]:
    """Columns of the manifest.

    Args:
        plain: (H, W, 3) uint8, what would have been released without activation.
        released: (H, W, 3) uint8, what was.
        known: SSIMULACRA2 of these very pixels, where the search for a strength has measured it.
    """
    color = color_difference(plain, released)
    seen = None
    if installed() and plain.shape[0] * plain.shape[1] <= BUTTERAUGLI_PIXELS:
        seen = butteraugli(plain, released)
    return {
        "psnr": image_quality.psnr(plain, released),
        "ssim": image_quality.ssim(plain, released),
        "linf": image_quality.linf(plain, released),
        "ssimulacra2": ssimulacra2(plain, released) if known is None else known,
        "ciede2000_p99": color.p99,
        "ciede2000_visible": color.visible,
        "butteraugli": None if seen is None else seen.largest,
        "butteraugli_norm": None if seen is None else seen.norm,
    }
