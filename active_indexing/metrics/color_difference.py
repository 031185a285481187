"""Visible differences of colour in places larger than a few pixels: spots on a face, a tint of a sky.

CIEDE2000 (Sharma, Wu, Dalal 2005, by scikit-image) of both images after a Gaussian of 4 pixels in linear
light, so that fine grain, which the eye averages, does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from skimage.color import deltaE_ciede2000, xyz2lab

from active_indexing.metrics.image_quality import check_pair
from active_indexing.metrics.srgb import LINEAR, TO_XYZ

SIGMA = 4.0  # pixels; about 1/15 degree where a pixel is 1/60 degree
VISIBLE = 2.3  # just noticeable, Mahy, Van Eycken, Oosterlinck (1994)
CELL = 4  # pixels; what the Gaussian leaves is sampled at this step
_BAND_ROWS = 256  # of the image; a multiple of CELL


@dataclass(frozen=True)
class ColorDifference:
    """CIEDE2000 over an image.

    Attributes:
        p99: 99th percentile.
        visible: share of the image over ``VISIBLE``.
    """

    p99: float
    visible: float


def color_difference(reference: np.ndarray, released: np.ndarray) -> ColorDifference:
    """How far the colours of a released image are from its source's.

    Args:
        reference: (H, W, 3) uint8 sRGB.
        released: (H, W, 3) uint8 sRGB, of the same size.

    Raises:
        ValueError: the arrays are not two sRGB images of one size.
    """
    check_pair(reference, released)
    if np.array_equal(reference, released):
        return ColorDifference(0.0, 0.0)
    difference = deltaE_ciede2000(_lab(reference), _lab(released))
    return ColorDifference(float(np.percentile(difference, 99)), float((difference > VISIBLE).mean()))


def _lab(pixels: np.ndarray) -> np.ndarray:
    """(ceil(H / CELL), ceil(W / CELL), 3) CIE L*a*b* of the blurred image, one value per cell."""
    means = _cell_means(pixels)
    # The mean over a cell is a blur by itself, of variance (CELL^2 - 1) / 12.
    sigma = np.sqrt(SIGMA**2 - (CELL**2 - 1) / 12) / CELL
    for axis in (0, 1):
        means = gaussian_filter1d(means, sigma, axis=axis, mode="nearest")
    return np.asarray(xyz2lab(means @ TO_XYZ.T))


def _cell_means(pixels: np.ndarray) -> np.ndarray:
    """Linear light of cells of CELL x CELL pixels; those at the right and the bottom may be smaller."""
    height, width = pixels.shape[:2]
    columns = np.arange(0, width, CELL)
    widths = np.diff(columns, append=width)[None, :, None]
    bands = []
    for top in range(0, height, _BAND_ROWS):
        band = np.add.reduceat(LINEAR[pixels[top : top + _BAND_ROWS]], columns, axis=1) / widths
        rows = np.arange(0, len(band), CELL)
        bands.append(np.add.reduceat(band, rows, axis=0) / np.diff(rows, append=len(band))[:, None, None])
    return np.concatenate(bands).astype(np.float64)
