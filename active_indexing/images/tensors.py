"""Pixels as tensors; the only module of images that knows torch."""

from __future__ import annotations

import numpy as np
import torch


def to_tensor(rgb: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (3, H, W) float32 in [0, 1]."""
    planes = np.array(rgb.transpose(2, 0, 1), order="C")  # torch refuses negative strides
    return torch.from_numpy(planes).float().div_(255)
