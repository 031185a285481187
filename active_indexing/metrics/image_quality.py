"""How far a released image is from its source: PSNR, SSIM and the largest change of a pixel.

All three take 8-bit pixels as they were read back from the released file. Images are walked in
horizontal bands, so that memory stays a few megabytes whatever their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

PEAK = 255  # grey levels
SSIM_WINDOW = 11  # pixels; [Wang04] section III.B
SSIM_SIGMA = 1.5  # pixels; [Wang04] section III.B
SSIM_C1 = (0.01 * PEAK) ** 2  # grey levels squared; [Wang04] eq. (7) with K1 = 0.01
SSIM_C2 = (0.03 * PEAK) ** 2  # grey levels squared; [Wang04] eq. (9) with K2 = 0.03
SSIM_PIXELS = 1 << 20  # about as many places of the window are looked at, in bands all over the image
_BAND_PIXELS = 1 << 15  # pixels; a band and its moments stay inside the processor's cache


def psnr(reference: np.ndarray, released: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels and channels, 10 log10(255^2 / MSE).

    Args:
        reference: (H, W, 3) uint8.
        released: (H, W, 3) uint8.

    Returns:
        Decibels; ``inf`` for equal images.

    Raises:
        ValueError: if the arrays are not two images of the same size.
    """
    check_pair(reference, released)
    squares = 0
    for rows in _bands(reference, 1):
        change = np.subtract(reference[rows], released[rows], dtype=np.int32)
        squares += int(np.square(change).sum(dtype=np.int64))
    return float(10 * np.log10(PEAK**2 * reference.size / squares)) if squares else float("inf")


def linf(reference: np.ndarray, released: np.ndarray) -> int:
    """Largest absolute change of one channel of one pixel.

    Args:
        reference: (H, W, 3) uint8.
        released: (H, W, 3) uint8.

    Returns:
        Grey levels, 0 to 255.

    Raises:
        ValueError: if the arrays are not two images of the same size.
    """
    check_pair(reference, released)
    return max(
        int(np.abs(np.subtract(reference[rows], released[rows], dtype=np.int16)).max())
        for rows in _bands(reference, 1)
    )


def ssim(reference: np.ndarray, released: np.ndarray) -> float:
    """Mean structural similarity, [Wang04] eq. (13), averaged over the three channels.

    The Gaussian window is moved over the places where it fits inside the image. For images smaller
    than 11 pixels it shrinks to the largest odd window that fits (down to a single pixel, where
    only the luminance term is left). Above 1.5 megapixels every n-th band of rows stands for all.

    Reference:
        [Wang04] Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to
        structural similarity. IEEE Transactions on Image Processing 13(4), 2004.

    Args:
        reference: (H, W, 3) uint8.
        released: (H, W, 3) uint8.

    Returns:
        Similarity, at most 1; exactly 1 for equal images.

    Raises:
        ValueError: if the arrays are not two images of the same size.
    """
    check_pair(reference, released)
    weights = _window(min(SSIM_WINDOW, *reference.shape[:2]))
    total, count = 0.0, 0
    every = max(1, round(reference.shape[0] * reference.shape[1] / SSIM_PIXELS))
    for rows in islice(_bands(reference, len(weights)), every // 2, None, every):
        for channel in range(3):
            similarity = _similarity(
                reference[rows, :, channel].astype(np.float64),
                released[rows, :, channel].astype(np.float64),
                weights,
            )
            total += float(similarity.sum())
            count += similarity.size
    return total / count


def check_pair(reference: np.ndarray, released: np.ndarray) -> None:
    """Raise ValueError if the arrays are not two (H, W, 3) uint8 images of one size."""
    for name, pixels in (("reference", reference), ("released", released)):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ValueError(f"{name} must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    if reference.shape != released.shape:
        raise ValueError(f"the images differ in size: reference {reference.shape}, released {released.shape}")


def _bands(pixels: np.ndarray, window: int) -> Iterator[slice]:
    """Rows in bands that overlap by window - 1, so that every place of the window is met once."""
    height, width = pixels.shape[:2]
    step = max(1, 2 * window, _BAND_PIXELS // width)
    for top in range(0, height - window + 1, step):
        yield slice(top, min(top + step + window - 1, height))


def _window(limit: int) -> np.ndarray:
    """Normalised Gaussian of the largest odd length that is not above ``limit``."""
    radius = (limit - 1) // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / SSIM_SIGMA) ** 2)
    return weights / weights.sum()


def _similarity(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """SSIM of every place of the window in one channel, [Wang04] eq. (13).

    The two variances enter only as their sum, so four local means are enough.
    """
    mean_x, mean_y = _local_mean(x, weights), _local_mean(y, weights)
    mean_product, mean_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = _local_mean(x * y, weights) - mean_product
    variances = _local_mean(x * x + y * y, weights) - mean_squares
    numerator = (2 * mean_product + SSIM_C1) * (2 * covariance + SSIM_C2)
    return numerator / ((mean_squares + SSIM_C1) * (variances + SSIM_C2))


def _local_mean(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean under a separable symmetric window, where it fits: (H, W) to (H-w+1, W-w+1)."""
    return _weighted(_weighted(plane, weights).T, weights).T


def _weighted(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    last = len(weights) - 1
    places = plane.shape[0] - last
    mean = plane[last // 2 : last // 2 + places] * weights[last // 2]
    for k in range(last // 2):
        mean += (plane[k : k + places] + plane[last - k : last - k + places]) * weights[k]
    return mean
