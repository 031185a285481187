"""What activation minimises, one named function per idea; all take descriptors (N, D) and give (N,)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.activation.objectives.cells import Cells

CELL_TEMPERATURE = 0.05
"""Of the squared distances to centroids. Chosen on photos 200-263 with the default descriptor."""

NEIGHBOUR_TEMPERATURE = 0.1
"""Of the squared distances to the codes of other entries. Chosen in the same way."""


def cossim(descriptors: Tensor, target: Tensor) -> Tensor:
    """Minus the cosine to the target, (D,) or (N, D); in [-1, 1] (published active_indexing default)."""
    return -F.cosine_similarity(descriptors, target.expand_as(descriptors), dim=1)


def l2(descriptors: Tensor, target: Tensor) -> Tensor:
    """Squared Euclidean distance to the target, (D,) or (N, D)."""
    return (descriptors - target).square().sum(dim=1)


def cell_loss(descriptors: Tensor, cells: Cells, own: Tensor) -> Tensor:
    """Cross-entropy of the cell that the index would assign, -log softmax_c(similarity to c / 0.05).

    It falls when the descriptor moves away from the borders of its cell, which the cosine to a target
    does not see.

    Args:
        descriptors: (N, D).
        cells: centroids of the index, and its transform.
        own: (N,) int64, the cell that each should be assigned to.
    """
    return F.cross_entropy(cells.similarities(descriptors) / CELL_TEMPERATURE, own, reduction="none")


def neighbour_loss(descriptors: Tensor, code: Tensor, neighbours: Tensor) -> Tensor:
    """Cross-entropy of the image's own code among the codes of its neighbours in the index.

    -log softmax over j of -||f - y_j||^2 / 0.1, the first being the image's own.

    Args:
        descriptors: (N, D).
        code: (N, D) what the index remembers of the image.
        neighbours: (N, M, D) what it remembers of others; a row of infinite values is no neighbour.
    """
    known = neighbours.isfinite().all(dim=2)
    codes = torch.cat([code[:, None], neighbours.where(known[:, :, None], 0)], dim=1)
    distances = (descriptors[:, None] - codes).square().sum(dim=2)
    # Filled in here: the derivative at an infinite code would not be a number.
    distances = distances.masked_fill(F.pad(~known, (1, 0)), torch.inf)
    first = torch.zeros(len(descriptors), dtype=torch.long, device=descriptors.device)
    return F.cross_entropy(-distances / NEIGHBOUR_TEMPERATURE, first, reduction="none")


DESCRIPTOR_LOSSES = {"cossim": cossim, "l2": l2}
"""Losses between descriptor and target by the names of ``--loss_f``."""
