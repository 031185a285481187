"""Images beside the views of a step: such as match nothing, and pairs that are known to match."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from active_indexing.training.data.batches import Batches
from active_indexing.training.objectives.interface import SideImages


@dataclass(frozen=True)
class SideBatches:
    """Where they come from.

    Attributes:
        support: images that match nothing.
        pairs: two images of every identity in a step.
    """

    support: Batches | None = None
    pairs: Batches | None = None

    def at(self, step: int, rank: int, size: int, device: torch.device) -> SideImages:
        """Those of one step in one process, squeezed to (size, size) pixels."""
        support = pairs = numbers = None
        if self.support is not None:
            support = _squeezed(self.support.at(step, rank)[0].images, size, device)
        if self.pairs is not None:
            batch = self.pairs.at(step, rank)[0]
            pairs, numbers = _squeezed(batch.images, size, device), batch.numbers
        return SideImages(support, pairs, numbers)


def _squeezed(images: torch.Tensor, size: int, device: torch.device) -> torch.Tensor:
    pixels = images.to(device).float() / 255
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True).clamp(0, 1)
