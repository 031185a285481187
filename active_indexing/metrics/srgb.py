"""8-bit sRGB to linear light and CIE XYZ (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np


def _linear(levels: np.ndarray) -> np.ndarray:
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


LINEAR = _linear(np.arange(256) / 255).astype(np.float32)
"""(256,) linear light in [0, 1] of each level."""

TO_XYZ = np.array(
    [(0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227)]
)
"""From linear RGB to XYZ under D65, as in scikit-image."""
