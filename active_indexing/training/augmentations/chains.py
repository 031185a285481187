"""Edits of the second default descriptor: chains as heavy as random attacks, real codecs, larger pages.

A quarter of the pictures stay whole and upright, most of them small on a page, and get light edits; of the
others three in five get most families of edits at once.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from active_indexing.training.augmentations.colours import colour_matrices, edit_colours, scale_contrast
from active_indexing.training.augmentations.degradation import degrade
from active_indexing.training.augmentations.drawings import Drawings
from active_indexing.training.augmentations.geometry import FrameRanges, Layout, draw_layout, inside
from active_indexing.training.augmentations.overlays import add_stickers, add_texts, ground, sample
from active_indexing.training.augmentations.pages import draw_pages
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import DrawnEdits, widened

RANGES = FrameRanges(
    caption=0.15,
    padded=0.09,
    page=0.24,
    band=(0.15, 1.1),
    page_width=(0.24, 0.95),
    page_height=(0.22, 0.75),
    whole_page=0.16,
    plain=0.09,
)
# Source pixels per view pixel from which a source is averaged over 3 x 3, and over 5 x 5.
SHRINKS = ((1.5, 2.6, 3), (2.6, float("inf"), 5))
QUALITIES = (5.0, 60.0)  # of JPEG


class _Chances(NamedTuple):
    """Probability of each family of edits."""

    sticker: float
    text: float
    colour: float
    degradation: float


HEAVY, LIGHT = _Chances(0.36, 0.30, 0.85, 0.85), _Chances(0.10, 0.08, 0.5, 0.3)


class ChainedEdits(DrawnEdits):
    """See the module.

    Args:
        seed: of the drawings.
        drawings: how many strips of text, stickers and pages.
    """

    def __init__(self, seed: int = 0, drawings: int = 512) -> None:
        super().__init__(seed, drawings)
        pages = draw_pages(seed + 1, drawings)
        self.drawings = Drawings(self.drawings.texts, self.drawings.stickers, pages)

    def reference_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """As the first edition's, from images that are reduced with an antialiasing filter."""
        if images.shape[-1] > size:
            small = F.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
            images = small.round().to(torch.uint8)
        return super().reference_views(images, size, generator, trace)

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`active_indexing.training.augmentations.views.ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        drawings = self.drawings.to(images.device)
        pixels = images.float() / 255
        layout = draw_layout(draws, RANGES)
        views = _placed(draws, layout, pixels, drawings, size)
        heavy = draws.chance(0.6) & ~layout.kept
        for chosen, chances in ((heavy, HEAVY), (~heavy, LIGHT)):
            rows = chosen.nonzero()[:, 0]
            if len(rows):
                part = views[rows]
                _edit(draws.among(rows), part, pixels[rows], drawings, chances)
                views[rows] = part
        light = ~heavy & (~layout.kept | layout.surround.page)
        rows = (light & draws.chance(0.25)).nonzero()[:, 0]
        if len(rows):
            views[rows] = strongly_coloured(draws.among(rows), views[rows])
        return views


def _placed(
    draws: Draws, layout: Layout, pixels: torch.Tensor, drawings: Drawings, size: int
) -> torch.Tensor:
    """Pictures cropped, turned, framed and put on pages."""
    corners = torch.where(draws.chance(0.8)[:, None], 0.0, draws.colours())[:, :, None, None]
    around = ground(draws, pixels, drawings, layout.surround, size)
    framed = layout.surround.page & draws.chance(0.3)
    frame = inside(widened(draws, layout.to_box), size) & framed[:, None, None, None]
    views = torch.where(frame | inside(layout.to_box, size), corners, around)
    source = smoothed(pixels, layout.shrink * (pixels.shape[-1] / size))
    picture = sample(source, layout.to_source, size)
    shown = inside(layout.to_picture, size)
    draws.moved(layout.to_source, size)
    draws.covered(~shown[:, 0])
    return torch.where(shown, picture, views)


def _edit(
    draws: Draws, views: torch.Tensor, images: torch.Tensor, drawings: Drawings, chances: _Chances
) -> None:
    """Overlays, colours, loss of detail, each with its chance, in place."""
    add_stickers(draws, views, images, drawings, chances.sticker)
    add_texts(draws, views, drawings, chances.text)
    rows = draws.chance(chances.colour).nonzero()[:, 0]
    if len(rows):
        views[rows] = edit_colours(draws.among(rows), views[rows])
    rows = draws.chance(chances.degradation).nonzero()[:, 0]
    if not len(rows):
        return
    coded = draws.among(rows).chance(0.3)
    chosen, rest = rows[coded], rows[~coded]
    if len(chosen):
        views[chosen] = coded_views(draws.among(chosen), views[chosen])
    if len(rest):
        part = views[rest]
        _degrade_twice(draws.among(rest), part)
        views[rest] = part


def strongly_coloured(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    """One strong edit of colour each: brightness (half of them), contrast (a fifth), saturation.

    Args:
        draws: one value per view.
        views: (B, 3, S, S) in [0, 1].
    """
    kind = draws.uniform()
    saturation = torch.where(kind > 0.7, draws.log_uniform(2.0, 6.0), 1.0)
    matrices = colour_matrices(torch.zeros_like(saturation), saturation)
    edited = torch.einsum("nij,njhw->nihw", matrices, views).clamp(0, 1)
    brightness = torch.where(kind < 0.5, draws.uniform(1.6, 2.4), 1.0)
    edited = (edited * brightness[:, None, None, None]).clamp(0, 1)
    contrast = torch.where((kind >= 0.5) & (kind <= 0.7), draws.log_uniform(1.6, 3.0), 1.0)
    return scale_contrast(edited, contrast)


def _degrade_twice(draws: Draws, views: torch.Tensor) -> None:
    """``degrade`` on all, and again on three in five."""
    degrade(draws, views)
    rows = draws.chance(0.6).nonzero()[:, 0]
    if len(rows):
        again = views[rows]
        degrade(draws.among(rows), again)
        views[rows] = again


def smoothed(pixels: torch.Tensor, shrink: torch.Tensor) -> torch.Tensor:
    """Sources that are shown much smaller, averaged against aliasing.

    Args:
        pixels: (B, 3, H, W).
        shrink: (B,) source pixels per view pixel along one axis.
    """
    result = pixels
    for low, high, kernel in SHRINKS:
        rows = ((shrink > low) & (shrink <= high)).nonzero()[:, 0]
        if len(rows):
            result = pixels.clone() if result is pixels else result
            margins = (kernel // 2,) * 4
            result[rows] = F.avg_pool2d(F.pad(pixels[rows], margins, mode="replicate"), kernel, 1)
    return result


def coded_views(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    """Pillow's JPEG of quality 5 to 60, or (one in four) its dithered web palette.

    Args:
        draws: one value per view.
        views: (B, 3, S, S) in [0, 1].
    """
    qualities, palettes = draws.log_uniform(*QUALITIES).long().tolist(), draws.chance(0.25).tolist()
    pixels = (views.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    coded = [_coded(*row) for row in zip(pixels, qualities, palettes, strict=True)]
    return torch.from_numpy(np.stack(coded)).permute(0, 3, 1, 2).to(views) / 255


def _coded(pixels: np.ndarray, quality: int, palette: bool) -> np.ndarray:
    image = Image.fromarray(pixels)
    if palette:
        return np.asarray(image.convert("P").convert("RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))
