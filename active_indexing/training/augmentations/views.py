"""Batched views of stored images: the protocol of recipes, and the recipe of the default descriptor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from active_indexing.training.augmentations.colours import edit_colours
from active_indexing.training.augmentations.degradation import degrade
from active_indexing.training.augmentations.drawings import draw_all
from active_indexing.training.augmentations.geometry import box_map, draw_layout, inside
from active_indexing.training.augmentations.overlays import add_stickers, add_texts, ground, sample
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.traces import PixelTrace

# Views that show the source this much smaller are sampled from a smoothed source, against aliasing.
ALIASING = 1.5


class ViewMaker(Protocol):
    """Makes training views of a batch of images; every draw comes from the generator it is given."""

    def reference_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """Views that stand for the indexed original.

        Args:
            images: (B, 3, H, W) uint8.
            size: of the views, pixels.
            generator: CPU generator of all draws.
            trace: of the images; follows the edits. ``None`` traces nothing.

        Returns:
            (B, 3, size, size) float32 in [0, 1].
        """

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """Views that stand for edited copies; arguments and result as above."""


class MadeAlike:
    """Of a view maker whose reference views go through the same edits as its edited ones."""

    edited_views: Callable[..., torch.Tensor]

    def reference_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`ViewMaker`."""
        return self.edited_views(images, size, generator, trace)


class DrawnEdits:
    """Edits with drawn clutter, for a descriptor that matches clean originals with edited copies.

    The reference view is the image itself in 6 of 10, else a crop of at least 64 % with a little gain. The
    edited view goes through layout, ground, overlays, colours, degradation, each with its own chance, so that
    single edits and chains of them both occur.

    Args:
        seed: of the drawings.
        drawings: how many strips of text and stickers.
    """

    def __init__(self, seed: int = 0, drawings: int = 512) -> None:
        self.drawings = draw_all(seed, drawings)

    def reference_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        same = draws.chance(0.6)
        width = torch.where(same, 1.0, draws.uniform(0.8, 1.0))
        height = torch.where(same, 1.0, draws.uniform(0.8, 1.0))
        x, y = draws.uniform(-1, 1) * (1 - width), draws.uniform(-1, 1) * (1 - height)
        zero = torch.zeros_like(width)
        maps = box_map(zero, zero, 1 / width, 1 / height)
        maps[:, :, 2] = torch.stack([x, y], dim=1)
        gain = torch.where(same, 1.0, draws.log_uniform(0.85, 1.15))
        views = sample(images.float() / 255, maps, size)
        draws.moved(maps, size)
        return (views * gain[:, None, None, None]).clamp(0, 1)

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        pixels = images.float() / 255
        layout = draw_layout(draws)
        corners = torch.where(draws.chance(0.8)[:, None], 0.0, draws.colours())[:, :, None, None]
        drawings = self.drawings.to(images.device)
        around = ground(draws, pixels, drawings, layout.surround, size)
        framed = layout.surround.page & draws.chance(0.3)
        frame = inside(widened(draws, layout.to_box), size) & framed[:, None, None, None]
        views = torch.where(frame | inside(layout.to_box, size), corners, around)
        source = _smoothed(pixels, layout.shrink * (images.shape[-1] / size) > ALIASING)
        picture = sample(source, layout.to_source, size)
        shown = inside(layout.to_picture, size)
        views = torch.where(shown, picture, views)
        draws.moved(layout.to_source, size)
        draws.covered(~shown[:, 0])
        add_stickers(draws, views, pixels, drawings, 0.18)
        add_texts(draws, views, drawings, 0.15)
        coloured = draws.chance(0.7).nonzero()[:, 0]
        views[coloured] = edit_colours(draws.among(coloured), views[coloured])
        degrade(draws, views)
        return views


def widened(draws: Draws, to_box: torch.Tensor) -> torch.Tensor:
    """Maps to the box made wider or higher: the letter box in which pages show pictures of another shape."""
    factor, upright = draws.uniform(1.0, 1.8), draws.chance(0.5)
    scale = torch.stack([torch.where(upright, 1.0, factor), torch.where(upright, factor, 1.0)], dim=1)
    return to_box / scale[:, :, None]


def _smoothed(pixels: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Means over 3x3 pixels where ``chosen``."""
    rows = chosen.nonzero()[:, 0]
    if not len(rows):
        return pixels
    result = pixels.clone()
    padded = torch.nn.functional.pad(pixels[rows], (1, 1, 1, 1), mode="replicate")
    result[rows] = torch.nn.functional.avg_pool2d(padded, 3, 1)
    return result
