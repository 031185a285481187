"""Pixels as tensors; the only module of images that knows torch."""

from __future__ import annotations

import numpy as np
import torch

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in the grey of a pixel (ITU-R BT.601, as Pillow and torchvision have it)."""


def to_tensor(rgb: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    planes = np.array(rgb.transpose(2, 0, 1), order="C")  # torch refuses negative strides
    return torch.from_numpy(planes).float().div_(255)


def to_pixels(tensor: torch.Tensor) -> np.ndarray:
    """An image as networks have it to pixels.

    Args:
        tensor: (3, H, W), uint8, or floating point in [0, 1], on any device.

    Returns:
        (H, W, 3) uint8, values rounded.

    Raises:
        ValueError: another shape or type, or values outside of [0, 1].
    """
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        raise ValueError(
            f"an image is a tensor (3, H, W); got {tuple(tensor.shape)}: give images one by one."
        )
    values = tensor.detach().cpu()
    if values.is_floating_point():
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError("a tensor of floats has values in [0, 1], not normalised; these lie outside.")
        values = (values.double() * 255).round().to(torch.uint8)
    if values.dtype != torch.uint8:
        raise ValueError(f"an image is a tensor of uint8, or of floats in [0, 1]; got {tensor.dtype}.")
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())
