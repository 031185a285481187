"""The cells of an index as a differentiable function of descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from active_indexing.index.vector_index import VectorIndex


@dataclass(frozen=True, eq=False)
class RobustTarget:
    """Where the copies of B images should land.

    Attributes:
        code: (B, D) what the index remembers of the entry.
        cell: (B,) int64, or ``None`` without cells.
        neighbours: (B, M, D) codes of other entries.
    """

    code: Tensor
    cell: Tensor | None
    neighbours: Tensor


@dataclass(frozen=True, eq=False)
class Cells:
    """Centroids, and the linear transform (OPQ, PCA) that lies before them.

    Attributes:
        centroids: (nlist, E).
        matrix: (E, D).
        bias: (E,).
        inner_product: cells are chosen by inner product instead of L2 distance.
    """

    centroids: Tensor
    matrix: Tensor
    bias: Tensor
    inner_product: bool

    @classmethod
    def of(cls, index: VectorIndex, device: torch.device) -> Cells | None:
        """Those of an index; ``None`` when it has none, or when they can't be written like this."""
        found = index.cell_geometry()
        if found is None:
            return None
        matrix, bias, centroids = (torch.from_numpy(part).to(device) for part in found)
        return cls(centroids, matrix, bias, index.metric == "IP")

    def similarities(self, descriptors: Tensor) -> Tensor:
        """(N, D) to (N, nlist): minus squared distances, or inner products; the largest is the own cell's."""
        moved = descriptors @ self.matrix.T + self.bias
        products = moved @ self.centroids.T
        if self.inner_product:
            return products
        return 2 * products - self.centroids.square().sum(dim=1) - moved.square().sum(dim=1, keepdim=True)

    def nearest(self, descriptors: Tensor) -> Tensor:
        """(N, D) to (N,) int64: the cell that each would be assigned to."""
        return self.similarities(descriptors).argmax(dim=1)
