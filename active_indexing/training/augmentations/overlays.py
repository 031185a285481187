"""Pasting clutter on views: text, stickers, other images; and the ground that framed pictures lie on."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from active_indexing.training.augmentations.drawings import STICKER_SIZE, Drawings
from active_indexing.training.augmentations.geometry import Frame, box_map
from active_indexing.training.augmentations.random_draws import Draws


def sample(images: torch.Tensor, maps: torch.Tensor, size: int, padding: str = "border") -> torch.Tensor:
    """Images seen through affine maps from view coordinates.

    Args:
        images: (B, C, H, W) float.
        maps: (B, 2, 3).
        size: width and height of the result, pixels.
        padding: what lies outside, ``border`` (the nearest pixel) or ``zeros``.

    Returns:
        (B, C, size, size).
    """
    grid = F.affine_grid(maps, [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def blend(views: torch.Tensor, rows: torch.Tensor, colours: torch.Tensor, opacity: torch.Tensor) -> None:
    """Paint over some views, in place.

    Args:
        views: (B, 3, S, S).
        rows: (n,) which of them.
        colours: (n, 3, S, S) or (n, 3, 1, 1).
        opacity: (n, 1, S, S) in [0, 1].
    """
    views[rows] = views[rows] * (1 - opacity) + colours * opacity


def ground(draws: Draws, images: torch.Tensor, drawings: Drawings, around: Frame, size: int) -> torch.Tensor:
    """What is visible around the boxes: a plain band with text, a drawn page, another image.

    Args:
        draws: one value per view.
        images: (B, 3, H, W) in [0, 1]; a fifth of the pages are other images of the batch.
        drawings: the pages.
        around: which views have a band or a page.
        size: of the views, pixels.

    Returns:
        (B, 3, size, size).
    """
    colour, kind = draws.colours(), draws.uniform()
    colour[kind < 0.6] = 1.0
    colour[(kind >= 0.6) & (kind < 0.7)] = 0.0
    result = colour[:, :, None, None].expand(-1, -1, size, size).clone()
    pages = around.page.nonzero()[:, 0]
    if len(pages):
        result[pages] = _pages(draws.among(pages), images, drawings, pages, size)
    _caption_text(draws.untraced(), result, drawings, around, size)
    return result


def _pages(
    draws: Draws, images: torch.Tensor, drawings: Drawings, rows: torch.Tensor, size: int
) -> torch.Tensor:
    zero = torch.zeros(len(rows), device=rows.device)
    maps = box_map(zero, zero, 1 / (draws.uniform(0.6, 1.0) * draws.sign()), 1 / draws.uniform(0.6, 1.0))
    others = (rows + 1 + draws.integers(max(1, len(images) - 1))) % len(images)
    drawn = drawings.pages[draws.integers(len(drawings.pages))].float() / 255
    photo = draws.chance(0.2)[:, None, None, None]
    return torch.where(photo, sample(images[others], maps, size), sample(drawn, maps, size))


def _caption_text(draws: Draws, views: torch.Tensor, drawings: Drawings, around: Frame, size: int) -> None:
    """Letters in the bands: black on light and white on dark in 7 of 10, any colour in the rest."""
    rows = (around.caption & draws.chance(0.85)).nonzero()[:, 0]
    if not len(rows):
        return
    part = draws.among(rows)
    half = around.band[rows] / around.height[rows]  # of the band, on the canvas
    width, height = part.uniform(0.3, 1.0), half * part.uniform(0.5, 1.0)
    x = part.uniform(-1, 1) * (1 - width)
    y = torch.where(around.below[rows], 1 - half, half - 1)
    ink, plain = part.colours(), part.chance(0.7)
    dark = views[rows, :, 0, 0].mean(dim=1) < 0.5
    ink[plain] = dark[plain].float()[:, None]
    _write(part, views, drawings, rows, ink, box_map(x, y, width, height), torch.ones_like(x))


def add_texts(draws: Draws, views: torch.Tensor, drawings: Drawings, probability: float) -> None:
    """Write across some views, in place; any place, size and colour, opacity from a half."""
    rows = draws.chance(probability).nonzero()[:, 0]
    if not len(rows):
        return
    part = draws.among(rows)
    width = part.log_uniform(0.2, 1.0)
    height = width * part.log_uniform(0.15, 0.6)
    maps = box_map(part.uniform(-0.9, 0.9), part.uniform(-0.9, 0.9), width, height)
    _write(part, views, drawings, rows, part.colours(), maps, part.uniform(0.5, 1.0))


def _write(
    draws: Draws,
    views: torch.Tensor,
    drawings: Drawings,
    rows: torch.Tensor,
    ink: torch.Tensor,
    maps: torch.Tensor,
    opacity: torch.Tensor,
) -> None:
    strips = drawings.texts[draws.integers(len(drawings.texts))].float() / 255
    letters = sample(strips, maps, views.shape[-1], "zeros") * opacity[:, None, None, None]
    blend(views, rows, ink[:, :, None, None], letters)
    draws.covered(letters[:, 0])


def add_stickers(
    draws: Draws, views: torch.Tensor, images: torch.Tensor, drawings: Drawings, probability: float
) -> None:
    """Put one sticker on some views, in place; a quarter show another image, cut to the sticker or square.

    Args:
        draws: one value per view.
        views: (B, 3, S, S), changed.
        images: (N, 3, H, W) in [0, 1], for stickers of images.
        drawings: the stickers.
        probability: of a sticker.
    """
    rows = draws.chance(probability).nonzero()[:, 0]
    if not len(rows):
        return
    part = draws.among(rows)
    stickers = drawings.stickers[part.integers(len(drawings.stickers))].float() / 255
    chosen = part.chance(0.25).nonzero()[:, 0]
    if len(chosen):
        others = images[part.among(chosen).integers(len(images))]
        stickers[chosen, :3] = F.interpolate(others, size=STICKER_SIZE, mode="area")
        stickers[chosen[::2], 3] = 1.0
    stickers[:, 3] *= part.uniform(0.5, 1.0)[:, None, None]
    half = part.log_uniform(0.15, 0.8)
    maps = box_map(part.uniform(-1, 1), part.uniform(-1, 1), half, half * part.log_uniform(0.7, 1.4))
    seen = sample(stickers, maps, views.shape[-1], "zeros")
    blend(views, rows, seen[:, :3], seen[:, 3:])
    part.covered(seen[:, 3])
