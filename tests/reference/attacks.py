"""Slow, obvious versions of what the attacks compute."""

import math

import numpy as np


def gaussian_blur(image: np.ndarray, kernel_size: int) -> np.ndarray:
    """One pixel at a time: (H, W, 3) uint8, borders mirrored without repeating the edge pixel."""
    sigma, radius = 0.15 * kernel_size + 0.35, kernel_size // 2
    taps = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-radius, radius + 1)]
    height, width, _ = image.shape
    blurred = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            for down in range(-radius, radius + 1):
                for right in range(-radius, radius + 1):
                    weight = taps[down + radius] * taps[right + radius] / sum(taps) ** 2
                    place = _mirror(row + down, height), _mirror(column + right, width)
                    blurred[row, column] += weight * image[place]
    return blurred


def map_point(coefficients: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Where Pillow's perspective transform takes the pixel (x, y) from."""
    a, b, c, d, e, f, g, h = coefficients
    scale = g * x + h * y + 1
    return (a * x + b * y + c) / scale, (d * x + e * y + f) / scale


def _mirror(index: int, length: int) -> int:
    while not 0 <= index < length:
        index = -index if index < 0 else 2 * (length - 1) - index
    return index
