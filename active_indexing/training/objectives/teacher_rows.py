"""From a teacher's features of all originals to rows of a bank, and a student's head that starts there."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Exponent of an eigenvalue by which its axis is scaled: 0 keeps the teacher's, -1/2 whitens.
HALF_WHITENING = -0.25
# Of ridge regression, in units of the mean variance of an input.
RIDGE = 0.01


def compressed(features: torch.Tensor, dim: int) -> torch.Tensor:
    """The largest principal components, half whitened, unit norm.

    Args:
        features: (N, D) of the teacher.
        dim: how many components, at most D.

    Returns:
        (N, dim) float32 unit norm.

    Raises:
        ValueError: if there are fewer components than that.
    """
    if dim > features.shape[1]:
        raise ValueError(f"the teacher gives {features.shape[1]} values per image, fewer than --dim {dim}.")
    centred = features.double() - features.double().mean(dim=0)
    values, axes = torch.linalg.eigh(centred.T @ centred / max(1, len(centred) - 1))
    values, axes = values.flip(0)[:dim], axes.flip(1)[:, :dim]
    scale = values.clamp(min=values[0] * 1e-9) ** HALF_WHITENING
    return F.normalize((centred @ axes) * scale, dim=1).float()


def ridge_head(features: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The linear layer that best takes pooled features to rows.

    Args:
        features: (N, F) of the trunk, clean originals.
        rows: (N, D) to be reached.

    Returns:
        Weight (D, F), bias (D,).
    """
    mean, target = features.double().mean(dim=0), rows.double().mean(dim=0)
    centred = features.double() - mean
    gram = centred.T @ centred
    gram += torch.eye(len(gram)) * gram.diagonal().mean() * RIDGE
    weight = torch.linalg.solve(gram, centred.T @ (rows.double() - target)).T
    return weight.float(), (target - weight @ mean).float()
