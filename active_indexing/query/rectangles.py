"""Rectangles that may be pictures in a picture: straight edges around, more texture inside than outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LINES = 14
"""Rows, and columns, that are tried as sides, besides the picture's own sides."""

EDGE = 10.0
"""Grey levels between neighbouring rows that make an edge."""

LEAST_COVERED = 0.6
"""Share of every inner side that must be an edge."""

LEAST_AREA = 0.04
"""Of the picture's area."""

MOST_AREA = 0.96

MOST_ASPECT = 4.0

OVERLAP = 0.8
"""Of two rectangles whose intersection has this share of their union, the better one is kept."""

RING = 3
"""Rows outside of a side in which texture is measured."""


@dataclass(frozen=True)
class Rectangle:
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Of the rectangle, in pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def overlap(self, other: Rectangle) -> float:
        """Intersection over union."""
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        common = max(0, height) * max(0, width)
        return common / (self.area + other.area - common)


def rectangles(grey: np.ndarray, most: int) -> list[Rectangle]:
    """The best rectangles, best first.

    Args:
        grey: (h, w) float32 grey levels.
        most: how many at most.
    """
    if min(grey.shape) < 16:
        return []
    across, down = _edges(grey), _edges(grey.T).T  # (h + 1, w) between rows, (h, w + 1) between columns
    rows, columns = _lines(across), _lines(down.T)
    tops, bottoms = _pairs(rows)
    lefts, rights = _pairs(columns)
    shape = (len(tops), len(lefts))
    top, bottom = (np.broadcast_to(side[:, None], shape).ravel() for side in (tops, bottoms))
    left, right = (np.broadcast_to(side[None], shape).ravel() for side in (lefts, rights))
    height, width = bottom - top, right - left
    share = height * width / grey.size
    fit = (share >= LEAST_AREA) & (share <= MOST_AREA)
    fit &= (height <= MOST_ASPECT * width) & (width <= MOST_ASPECT * height)
    top, left, bottom, right = (side[fit] for side in (top, left, bottom, right))
    if not len(top):
        return []
    score = _scores(grey, across, down, top, left, bottom, right)
    return _best(score, top, left, bottom, right, most)


def _scores(
    grey: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    bottom: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """How much each looks like a picture in a picture; ``-inf`` where a side is no edge."""
    height, width = grey.shape
    rows = np.pad(np.cumsum(across, axis=1, dtype=np.float32), ((0, 0), (1, 0)))
    columns = np.pad(np.cumsum(down, axis=0, dtype=np.float32), ((1, 0), (0, 0)))
    sides = np.stack(
        [
            np.where(top == 0, 1, (rows[top, right] - rows[top, left]) / (right - left)),
            np.where(bottom == height, 1, (rows[bottom, right] - rows[bottom, left]) / (right - left)),
            np.where(left == 0, 1, (columns[bottom, left] - columns[top, left]) / (bottom - top)),
            np.where(right == width, 1, (columns[bottom, right] - columns[top, right]) / (bottom - top)),
        ]
    )
    texture = np.minimum(_slopes(grey), EDGE) / EDGE
    table = np.pad(np.cumsum(np.cumsum(texture, axis=0), axis=1), ((1, 0), (1, 0)))

    def mean(t: np.ndarray, le: np.ndarray, b: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return table[b, r] - table[t, r] - table[b, le] + table[t, le], (b - t) * (r - le)

    inside, area = mean(
        np.minimum(top + 1, height),
        np.minimum(left + 1, width),
        np.maximum(bottom - 1, 0),
        np.maximum(right - 1, 0),
    )
    outer = (
        np.maximum(top - RING, 0), np.maximum(left - RING, 0),
        np.minimum(bottom + RING, height), np.minimum(right + RING, width),
    )  # fmt: skip
    near = (
        np.maximum(top - 1, 0),
        np.maximum(left - 1, 0),
        np.minimum(bottom + 1, height),
        np.minimum(right + 1, width),
    )
    around, ring = mean(*outer)
    closely, core = mean(*near)
    outside = (around - closely) / np.maximum(ring - core, 1)
    inner = inside / np.maximum(area, 1)
    score = sides.mean(axis=0) + inner - outside + 0.1 * np.sqrt(area / grey.size)
    score[sides.min(axis=0) < LEAST_COVERED] = -np.inf
    return score


def _best(
    score: np.ndarray, top: np.ndarray, left: np.ndarray, bottom: np.ndarray, right: np.ndarray, most: int
) -> list[Rectangle]:
    kept: list[Rectangle] = []
    for place in np.argsort(-score, kind="stable")[:200]:
        if len(kept) == most or not np.isfinite(score[place]):
            break
        box = Rectangle(int(top[place]), int(left[place]), int(bottom[place]), int(right[place]))
        if all(box.overlap(other) < OVERLAP for other in kept):
            kept.append(box)
    return kept


def _edges(grey: np.ndarray) -> np.ndarray:
    """(h + 1, w) bool: whether there is an edge above a row; never at the picture's own sides."""
    return np.pad(np.abs(np.diff(grey, axis=0)) > EDGE, ((1, 1), (0, 0)))


def _lines(edges: np.ndarray) -> np.ndarray:
    """Places of the rows with most edges, and of both ends, ascending."""
    counts = edges.sum(axis=1)
    places = np.argsort(-counts, kind="stable")[:LINES]
    return np.unique([0, len(edges) - 1, *places[counts[places] > 0]])


def _pairs(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(len(places), 1)
    return places[first], places[second]


def _slopes(grey: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(grey, axis=0, append=grey[-1:])) + np.abs(
        np.diff(grey, axis=1, append=grey[:, -1:])
    )
