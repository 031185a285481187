"""How far every value of an image may move before it is seen, relative to the others.

The just-noticeable difference, and nothing at all where neighbouring pixels are equal: in flat graphics, on
the ground of text and line art, in blown-out skies and crushed shadows a change has nothing to hide behind.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.perturbation import jnd

OPEN, CLOSED = 0.2, 0.5
"""Shares of equal neighbours around a place up to which it is changed fully, and from which on not at all.
Eight photos of 000-299 stay open over 0.71 to 1 of their area, drawn graphics over less than 0.01; by eye."""

SAMPLES = 1024  # rows and columns at which pixels are compared, at most
NEIGHBOURHOOD = 5  # working pixels over which equal neighbours are counted


def bounds(pixels: Tensor, openness: Tensor) -> Tensor:
    """How far each value may move.

    Args:
        pixels: (B, 3, h, w) RGB in [0, 1].
        openness: (B, 1, h, w) in [0, 1], of ``openness``.

    Returns:
        (B, 3, h, w) in units of the pixels.
    """
    noticeable = torch.stack([jnd.jnd(each) for each in pixels])
    return noticeable * pixels.new_tensor(jnd.CHANNEL_SCALE)[:, None, None] * openness


def openness(srgb: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """How much of a change each place of the working image may take, by the equal pixels in it.

    Args:
        srgb: (H, W, 3) uint8, at full size: what is equal there is blurred in a smaller image.
        shape: (h, w) of the working image.

    Returns:
        (1, h, w) float32 in [0, 1].
    """
    equal = torch.from_numpy(_equal_neighbours(srgb).astype(np.float32))[None, None]
    share = F.interpolate(equal, shape, mode="area")
    radius = NEIGHBOURHOOD // 2
    share = F.avg_pool2d(F.pad(share, (radius,) * 4, mode="replicate"), NEIGHBOURHOOD, 1)
    return ((CLOSED - share) / (CLOSED - OPEN)).clamp(0, 1)[0]


def is_grey(srgb: np.ndarray) -> bool:
    """Whether all three channels are equal everywhere."""
    return bool((srgb[..., 0] == srgb[..., 1]).all() and (srgb[..., 0] == srgb[..., 2]).all())


def _equal_neighbours(srgb: np.ndarray) -> np.ndarray:
    """Whether pixels equal those to the right and below, (m, n) bool, at up to ``SAMPLES`` of each axis."""
    rows, columns = (np.arange(0, edge, -(-edge // SAMPLES)) for edge in srgb.shape[:2])
    below, right = (
        np.minimum(at + 1, edge - 1) for at, edge in zip((rows, columns), srgb.shape, strict=False)
    )
    here = srgb[rows[:, None], columns]
    equal = (here == srgb[rows[:, None], right]) & (here == srgb[below[:, None], columns])
    return np.asarray(equal.all(axis=2))
