"""Image quality by the book: one loop per sum, no tricks."""

import math

import numpy as np


def psnr(reference: np.ndarray, released: np.ndarray) -> float:
    squares = [(int(a) - int(b)) ** 2 for a, b in zip(reference.flat, released.flat, strict=True)]
    mse = sum(squares) / len(squares)
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def linf(reference: np.ndarray, released: np.ndarray) -> int:
    return max(abs(int(a) - int(b)) for a, b in zip(reference.flat, released.flat, strict=True))


def ssim(reference: np.ndarray, released: np.ndarray) -> float:
    """Wang et al. 2004: a two-dimensional Gaussian window at every place where it fits."""
    height, width, channels = reference.shape
    size = min(11, height, width)
    size -= 1 - size % 2
    axis = [math.exp(-((k - size // 2) ** 2) / (2 * 1.5**2)) for k in range(size)]
    window = np.array([[a * b for b in axis] for a in axis])
    window /= window.sum()
    values = []
    for channel in range(channels):
        for top in range(height - size + 1):
            for left in range(width - size + 1):
                place = np.s_[top : top + size, left : left + size, channel]
                values.append(_one_place(reference[place], released[place], window))
    return sum(values) / len(values)


def _one_place(x: np.ndarray, y: np.ndarray, window: np.ndarray) -> float:
    x, y = x.astype(float), y.astype(float)
    mean_x, mean_y = (window * x).sum(), (window * y).sum()
    variance_x = (window * (x - mean_x) ** 2).sum()
    variance_y = (window * (y - mean_y) ** 2).sum()
    covariance = (window * (x - mean_x) * (y - mean_y)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
