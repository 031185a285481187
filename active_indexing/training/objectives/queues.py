"""A fixed number of past rows, oldest out first: negatives that cost no forward pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

# Of kd_icd and RDCD (the latter's contrast has it fixed).
PUBLISHED_ROWS = 65_536
NOBODY = -1  # image number of rows that show no image


class FeatureQueue(nn.Module):
    """First in, first out, on the device of the module; every process fills its own with the same rows.

    Args:
        rows: capacity; steps of any size fit, also those that do not divide it.
        dim: of a row.
        seed: of the random unit rows that fill it at first.

    Attributes:
        features: (rows, dim) float32.
        images: (rows,) int64, which image each shows; :data:`NOBODY` for random rows.
        position: () int64, where the next row goes.

    Raises:
        ValueError: if it would be empty.
    """

    features: torch.Tensor
    images: torch.Tensor
    position: torch.Tensor

    def __init__(self, rows: int, dim: int, seed: int = 0) -> None:
        super().__init__()
        if rows < 1 or dim < 1:
            raise ValueError(f"a queue needs at least 1 row and 1 value, got {rows} x {dim}.")
        start = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("features", F.normalize(start, dim=1))
        self.register_buffer("images", torch.full((rows,), NOBODY))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, features: torch.Tensor, images: torch.Tensor | None = None) -> None:
        """Replace the oldest rows.

        Args:
            features: (B, dim); of more rows than the queue holds, the last ones stay.
            images: (B,) int64.
        """
        rows = len(self.features)
        features = features.detach()[-rows:].to(self.features)
        places = (int(self.position) + torch.arange(len(features), device=features.device)) % rows
        self.features[places] = features
        self.images[places] = NOBODY if images is None else images[-rows:].to(self.images)
        self.position.fill_((int(self.position) + len(features)) % rows)

    def foreign(self, images: torch.Tensor) -> torch.Tensor:
        """Which rows show another image than each of these: (B,) int64 to (B, rows) bool."""
        return images.to(self.images)[:, None] != self.images[None]
