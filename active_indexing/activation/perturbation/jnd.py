"""How much change the eye forgives, pixel by pixel.

The just-noticeable-difference (JND) map of Yang et al., "Just noticeable distortion model and its
applications in video coding" (2005), with the contrast masking of Wu et al., "Enhanced just noticeable
difference model for images with pattern complexity" (IEEE TIP 2017), with the constants of the published
active_indexing program. All values are in grey levels [0, 255] unless said otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.images.tensors import LUMA

LUMINANCE_PIVOT = 127.0  # grey level where the dark branch meets the bright one (Yang 2005)
DARK_GAIN = 17.0  # Yang 2005
BRIGHT_SLOPE = 3.0 / 128.0  # Yang 2005
LUMINANCE_BASE = 3.0  # Yang 2005
DARK_EPSILON = 1e-3  # published active_indexing default; the root has a derivative at black

CONTRAST_GAIN = 0.117 * 16.0  # Wu 2017, for a pattern complexity of one orientation
CONTRAST_EXPONENT = 2.4  # Wu 2017
CONTRAST_KNEE = 26.0  # Wu 2017

OVERLAP = 0.3  # part of the smaller of both terms counted once only (Yang 2005)
FLOOR = 5.0  # the least threshold, published active_indexing default

CHANNEL_SCALE = tuple(0.072 / weight for weight in LUMA)
"""Bounds of R, G, B relative to the map: the less a channel adds to luminance, the more it may change
(0.2408, 0.1227, 0.6316; published active_indexing default)."""

_BACKGROUND = (
    (1.0, 1.0, 1.0, 1.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 2.0, 0.0, 2.0, 1.0),
    (1.0, 2.0, 2.0, 2.0, 1.0),
    (1.0, 1.0, 1.0, 1.0, 1.0),
)
"""Weights of the background luminance, to be divided by 32 (Yang 2005)."""

_SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def luminance(pixels: Tensor) -> Tensor:
    """Luminance in grey levels.

    Args:
        pixels: (3, H, W) RGB in [0, 1].

    Returns:
        (1, H, W) in [0, 255].
    """
    return 255.0 * torch.einsum("c,chw->hw", pixels.new_tensor(LUMA), pixels)[None]


def luminance_masking(grey: Tensor) -> Tensor:
    """Threshold from the background: high in the dark, least at mid grey, rising again to white.

    Args:
        grey: (1, H, W) luminance in [0, 255].

    Returns:
        (1, H, W) in grey levels, about 19.46 at black, 2.99 at 127, 6 at white.
    """
    weights = grey.new_tensor(_BACKGROUND)[None, None] / 32.0
    background = F.conv2d(grey[None], weights, padding=2)[0]  # zeros outside, as published
    dark = DARK_GAIN * (1.0 - torch.sqrt(background / LUMINANCE_PIVOT + DARK_EPSILON)) + LUMINANCE_BASE
    bright = BRIGHT_SLOPE * (background - LUMINANCE_PIVOT) + LUMINANCE_BASE
    return torch.where(background <= LUMINANCE_PIVOT, dark, bright)


def contrast_masking(grey: Tensor) -> Tensor:
    """Threshold from the local gradient: edges and texture hide changes.

    Args:
        grey: (1, H, W) luminance in [0, 255].

    Returns:
        (1, H, W) in grey levels, 0 in flat regions.
    """
    horizontal = grey.new_tensor(_SOBEL_X)
    kernels = torch.stack([horizontal, horizontal.T])[:, None]  # (2, 1, 3, 3)
    squared = F.conv2d(grey[None], kernels, padding=1)[0].square().sum(0, keepdim=True)
    # A power of the square, not of its root, which has no derivative in flat regions.
    return CONTRAST_GAIN * squared ** (CONTRAST_EXPONENT / 2) / (squared + CONTRAST_KNEE**2)


def jnd(pixels: Tensor) -> Tensor:
    """Just-noticeable difference of every pixel.

    Args:
        pixels: (3, H, W) RGB in [0, 1].

    Returns:
        (1, H, W) in units of the pixels (1.0 is 255 grey levels), never under ``FLOOR`` grey levels.
    """
    grey = luminance(pixels)
    from_luminance, from_contrast = luminance_masking(grey), contrast_masking(grey)
    both = from_luminance + from_contrast - OVERLAP * torch.minimum(from_luminance, from_contrast)
    return both.clamp_min(FLOOR) / 255.0


def uniform(pixels: Tensor) -> Tensor:
    """No mask: the floor of ``jnd`` everywhere, so that no pixel gets more than a flat region would.

    Args:
        pixels: (3, H, W) RGB in [0, 1].

    Returns:
        (1, H, W), constant ``FLOOR`` / 255.
    """
    return torch.full_like(pixels[:1], FLOOR / 255.0)


TEXTURE_KNEE = 6.0  # grey levels of contrast masking that make half a texture
FLAT_TEXTURE = 0.2  # mean texture below which an image is too flat for a whole budget; 1 photo in 100 is
LEAST_ROOM = 0.3  # what a constant image gets


def texture(pixels: Tensor) -> Tensor:
    """How well each place hides a change: 0 in flat regions, near 1 in strong texture.

    From the contrast masking of the just-noticeable difference alone: its luminance masking allows most in
    the dark, where screens show it. ``TEXTURE_KNEE`` was chosen by eye on photos 000-299 and drawn pictures.

    Args:
        pixels: (B, 3, H, W) RGB in [0, 1], of a few hundred pixels a side.

    Returns:
        (B, 1, H, W) in [0, 1).
    """
    framed = F.pad(pixels, (1, 1, 1, 1), mode="replicate")  # the image's border is no edge
    masking = torch.stack([contrast_masking(luminance(picture))[:, 1:-1, 1:-1] for picture in framed])
    masking = F.avg_pool2d(F.pad(masking, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return masking / (masking + TEXTURE_KNEE)


def budget_share(texture: Tensor) -> Tensor:
    """Share of a budget (root mean square) that an image may get: 1 but for images that are nearly flat.

    Args:
        texture: (B, 1, H, W) from ``texture``.

    Returns:
        (B,) in [LEAST_ROOM, 1].
    """
    return (texture.mean(dim=(1, 2, 3)) / FLAT_TEXTURE).clamp(LEAST_ROOM, 1.0)
