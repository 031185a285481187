"""Views of a query: parts of a picture that may be the whole of one of ours.

A thief shows a photo inside something: a border, a caption, a page, a turned phone. A descriptor of the
whole then sees mostly the surroundings. So parts are proposed that may have been whole pictures, and each is
asked about. Everything here looks at grey levels of a small copy, so its cost does not depend on the size of
the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from active_indexing.query.rectangles import Rectangle, rectangles

WHOLE, TRIMMED, RECTANGLE, TURNED = "whole", "trimmed", "rectangle", "turned"
KINDS = (WHOLE, TRIMMED, RECTANGLE, TURNED)

SMALL = 240
"""Longest side in pixels of the copy that is looked at."""

BORDER_LEVELS = 12
"""A row or column belongs to the border while its grey levels differ less than this from its edge's."""

LEAST_TRIMMED = 0.02
"""Share of a side that a border must have; a thinner one is not worth a view."""

MOST_RECTANGLES = 4

LEAST_SIDE = 32
"""Pixels of the shorter side of a part."""


@dataclass(frozen=True, eq=False)
class View:
    """One part of a query.

    Attributes:
        kind: ``whole``, ``trimmed``, ``rectangle`` or ``turned``.
        pixels: (h, w, 3) uint8 sRGB, a window into the query's pixels.
        box: (top, left, bottom, right) in the query, in pixels.
        turns: quarter turns counter-clockwise that ``pixels`` has had.
    """

    kind: str
    pixels: np.ndarray
    box: tuple[int, int, int, int]
    turns: int = 0


def whole_view(srgb: np.ndarray) -> View:
    """The query as it is, (H, W, 3) uint8."""
    return View(WHOLE, srgb, (0, 0, *srgb.shape[:2]))


def views_of(srgb: np.ndarray) -> list[View]:
    """All views of a query, the whole first.

    Args:
        srgb: (H, W, 3) uint8.
    """
    found = [whole_view(srgb)]
    if min(srgb.shape[:2]) >= max(LEAST_SIDE, _block(srgb)):
        found += _parts(srgb)
    # A turned screenshot is rarer than a turned photo: only the trimmed picture is turned.
    upright = found[1] if len(found) > 1 and found[1].kind == TRIMMED else found[0]
    return found + [View(TURNED, np.rot90(upright.pixels, turns), upright.box, turns) for turns in (1, 3)]


def parts(srgb: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """(kind, pixels) of all views of a query, (H, W, 3) uint8, the whole first."""
    return [(view.kind, np.ascontiguousarray(view.pixels)) for view in views_of(srgb)]


def _block(srgb: np.ndarray) -> int:
    """Pixels along a side of a block of the small copy."""
    return -(-max(srgb.shape[:2]) // SMALL)


def _parts(srgb: np.ndarray) -> list[View]:
    """The picture without its border, and rectangles in it."""
    grey, scale = small_grey(srgb)
    found = []
    trimmed = trimmed_box(grey)
    if trimmed is not None:
        found.append(_part(TRIMMED, srgb, trimmed, scale))
    boxes = rectangles(grey, MOST_RECTANGLES)
    found += [_part(RECTANGLE, srgb, box, scale) for box in boxes]
    return [view for view in found if min(view.pixels.shape[:2]) >= LEAST_SIDE]


def small_grey(srgb: np.ndarray) -> tuple[np.ndarray, float]:
    """Block means of the green channel, (h, w) float32 with sides up to ``SMALL``, and a block's pixels."""
    factor = _block(srgb)
    height, width = (side // factor for side in srgb.shape[:2])
    blocks = srgb[: height * factor, : width * factor, 1].reshape(height, factor, width, factor)
    return blocks.mean((1, 3), dtype=np.float32), float(factor)


def trimmed_box(grey: np.ndarray) -> Rectangle | None:
    """What is left without a uniform border; ``None`` when there is none worth a view, or nothing else."""
    top, bottom = _content(grey)
    left, right = _content(grey.T)
    height, width = grey.shape
    thick = max(top / height, 1 - bottom / height, left / width, 1 - right / width)
    if thick < LEAST_TRIMMED or bottom - top < 0.1 * height or right - left < 0.1 * width:
        return None
    return Rectangle(top, left, bottom, right)


def _content(grey: np.ndarray) -> tuple[int, int]:
    """First row and one past the last row that are not of the border's one grey level."""
    rows = []
    for lines in (grey, grey[::-1]):
        level = np.median(lines[0])
        inside = np.flatnonzero(np.abs(lines - level).max(axis=1) > BORDER_LEVELS)
        rows.append(int(inside[0]) if len(inside) else len(grey))
    return (rows[0], len(grey) - rows[1]) if rows[0] + rows[1] < len(grey) else (0, len(grey))


def _part(kind: str, srgb: np.ndarray, box: Rectangle, scale: float) -> View:
    height, width = srgb.shape[:2]
    top, left = int(np.ceil(box.top * scale)), int(np.ceil(box.left * scale))
    bottom, right = min(height, int(box.bottom * scale)), min(width, int(box.right * scale))
    return View(kind, srgb[top:bottom, left:right], (top, left, bottom, right))
