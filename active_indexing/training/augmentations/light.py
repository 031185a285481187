"""Views of images that were edited before the training, or are to be seen as they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from active_indexing.training.augmentations.geometry import box_map
from active_indexing.training.augmentations.overlays import sample
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import MadeAlike

# Of ViT4ICD's loader, pixels of a view.
PADDING = 10


class LightEdits(MadeAlike):
    """Squeezed to the size of a view; reference and edited views are made alike.

    Args:
        shifted: also mirror half of them, pad 10 black pixels on all sides and crop anywhere, as [ViT4ICD].
    """

    def __init__(self, *, shifted: bool) -> None:
        self.shifted = shifted

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`~active_indexing.training.augmentations.views.ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        squeezed = F.interpolate(images.float() / 255, (size, size), mode="bilinear", antialias=True)
        pixels = squeezed.clamp(0, 1)
        zero = torch.zeros(len(images), device=images.device)
        if not self.shifted:
            draws.moved(box_map(zero, zero, zero + 1, zero + 1), size)
            return pixels
        flip = draws.sign(0.5)
        x, y = ((draws.integers(2 * PADDING + 1) - PADDING) * 2 / size for _ in range(2))
        maps = box_map(-x, -y, flip, zero + 1)
        draws.moved(maps, size, black_outside=True)
        return sample(pixels, maps, size, "zeros")
