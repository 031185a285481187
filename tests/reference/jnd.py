"""The just-noticeable-difference map by the book: one pixel after the other, in float64."""

import math

import numpy as np

BACKGROUND = ["11111", "12221", "12021", "12221", "11111"]  # over 32
ACROSS = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]


def at(grey: np.ndarray, row: int, column: int) -> float:
    """Grey level, 0 outside the image."""
    inside = 0 <= row < grey.shape[0] and 0 <= column < grey.shape[1]
    return float(grey[row, column]) if inside else 0.0


def background(grey: np.ndarray, row: int, column: int) -> float:
    total = 0.0
    for i in range(5):
        for j in range(5):
            total += int(BACKGROUND[i][j]) * at(grey, row + i - 2, column + j - 2)
    return total / 32


def luminance_term(level: float) -> float:
    if level <= 127:
        return 17 * (1 - math.sqrt(level / 127 + 1e-3)) + 3
    return 3 / 128 * (level - 127) + 3


def gradient(grey: np.ndarray, row: int, column: int) -> float:
    across = along = 0.0
    for i in range(3):
        for j in range(3):
            level = at(grey, row + i - 1, column + j - 1)
            across += ACROSS[i][j] * level
            along += ACROSS[j][i] * level
    return math.hypot(across, along)


def contrast_term(g: float) -> float:
    return 0.117 * 16 * g**2.4 / (g**2 + 26**2)


def jnd(pixels: np.ndarray) -> np.ndarray:
    """(3, H, W) in [0, 1] to (H, W), in units of the pixels."""
    red, green, blue = 255 * pixels.astype(np.float64)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    result = np.empty(grey.shape)
    for row in range(grey.shape[0]):
        for column in range(grey.shape[1]):
            la = luminance_term(background(grey, row, column))
            cm = contrast_term(gradient(grey, row, column))
            result[row, column] = max(la + cm - 0.3 * min(la, cm), 5) / 255
    return result
