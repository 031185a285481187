"""Colour edits of a batch of views: hue, saturation, grey, brightness, contrast."""

from __future__ import annotations

import math

import torch

from active_indexing.images.tensors import LUMA
from active_indexing.training.augmentations.random_draws import Draws


def colour_matrices(angle: torch.Tensor, saturation: torch.Tensor) -> torch.Tensor:
    """Matrices that turn hue about the grey axis, then scale the distance to the luma.

    A third of a turn permutes the channels exactly as a shift of hue by 1/3 in HSV does; between the thirds
    the two differ a little (Rodrigues' rotation keeps the sum of the channels, HSV their extremes).

    Args:
        angle: (B,) radians.
        saturation: (B,) 1 keeps, 0 is grey.

    Returns:
        (B, 3, 3), to be multiplied with RGB columns.
    """
    eye = torch.eye(3, device=angle.device)
    axis = angle.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    turn = cos * eye + sin * axis + (1 - cos) / 3
    luma = angle.new_tensor(LUMA).expand(3, 3)
    return turn @ (luma + saturation[:, None, None] * (eye - luma))


def scale_contrast(pixels: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Scale the distance to the image's mean level; clamped to [0, 1].

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        factor: (B,).
    """
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return ((pixels - mean) * factor[:, None, None, None] + mean).clamp(0, 1)


def edit_colours(draws: Draws, pixels: torch.Tensor) -> torch.Tensor:
    """Random colour edits, each on about a third of the views; clamped after each as 8-bit files are.

    Args:
        draws: one value per view.
        pixels: (B, 3, H, W) in [0, 1].
    """
    angle = torch.where(draws.chance(0.35), draws.uniform(-math.pi, math.pi), 0.0)
    kind = draws.uniform()
    saturation = torch.where(kind < 0.25, draws.log_uniform(0.3, 5.0), 1.0)
    saturation = torch.where(kind > 0.9, 0.0, saturation)
    matrices = colour_matrices(angle, saturation)
    edited = torch.einsum("nij,njhw->nihw", matrices, pixels).clamp_(0, 1)
    brightness = torch.where(draws.chance(0.35), draws.log_uniform(0.25, 2.3), 1.0)
    edited = (edited * brightness[:, None, None, None]).clamp_(0, 1)
    return scale_contrast(edited, torch.where(draws.chance(0.3), draws.log_uniform(0.35, 2.6), 1.0))
