"""Loss of detail in a batch of views: blur, pixelation, few levels, noise, shuffled pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from active_indexing.training.augmentations.random_draws import Draws

# Strengths below are in pixels of a view this wide.
NOMINAL_SIZE = 96


def gaussian_blur(pixels: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur every view with its own width; borders are mirrored.

    Args:
        pixels: (B, 3, H, W).
        sigma: (B,) standard deviation in pixels; the kernel reaches 2.3 of the largest.
    """
    radius = min(max(1, int(2.3 * float(sigma.max()))), pixels.shape[-1] - 1, pixels.shape[-2] - 1)
    offsets = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(pixels)  # (B, 2 * radius + 1)
    count = len(pixels)
    channels = F.pad(pixels.transpose(0, 1), (radius, radius, radius, radius), mode="reflect")
    channels = F.conv2d(channels, kernel[:, None, None, :], groups=count)
    channels = F.conv2d(channels, kernel[:, None, :, None], groups=count)
    return channels.transpose(0, 1)


def pixelate(pixels: torch.Tensor, cells: int) -> torch.Tensor:
    """Show ``cells`` x ``cells`` mean colours."""
    small = F.interpolate(pixels, size=cells, mode="area")
    return F.interpolate(small, size=pixels.shape[-2:], mode="nearest")


def shuffle_pixels(draws: Draws, pixels: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Replace a share of the pixels by pixels of elsewhere in the same view.

    Args:
        draws: one value per view.
        pixels: (B, 3, H, W).
        share: (B,) in [0, 1].
    """
    moved, order = _draw_shuffle(draws, pixels, share)
    return _shuffled(draws, pixels, moved, order)


def _draw_shuffle(
    draws: Draws, pixels: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pixels are replaced, (B, H * W) bool, and by which, (H * W,) int64."""
    length = pixels.shape[-2] * pixels.shape[-1]
    order = draws.order(length)
    return draws.fraction(len(pixels), 1, length)[:, 0] < share[:, None], order


def _shuffled(draws: Draws, pixels: torch.Tensor, moved: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    draws.shuffled(moved, order)
    flat = pixels.flatten(2)
    return torch.where(moved[:, None], flat[:, :, order], flat).view_as(pixels)


def degrade(draws: Draws, views: torch.Tensor) -> None:
    """Degrade about two views in five, each in one way, in place.

    A fifth is blurred or (one in five of those) sharpened; 7 % are pixelated, 4 % get 2 to 16 levels, 8 %
    noise, half of those shuffled pixels too.

    Args:
        draws: one value per view.
        views: (B, 3, S, S) in [0, 1], changed.
    """
    kind = draws.uniform()
    rows = (kind < 0.20).nonzero()[:, 0]
    if len(rows):
        views[rows] = _blurred(draws.among(rows), views[rows])
    rows = ((kind >= 0.20) & (kind < 0.27)).nonzero()[:, 0]
    if len(rows):
        share = float(Draws(draws.generator, 1).uniform(0.2, 0.6))
        views[rows] = pixelate(views[rows], max(6, int(views.shape[-1] * share)))
    rows = ((kind >= 0.27) & (kind < 0.31)).nonzero()[:, 0]
    if len(rows):
        levels = draws.among(rows).log_uniform(2, 16)[:, None, None, None]
        views[rows] = ((views[rows] * levels).round() / levels).clamp(0, 1)
    rows = ((kind >= 0.31) & (kind < 0.39)).nonzero()[:, 0]
    if len(rows):
        views[rows] = _noisy(draws.among(rows), views[rows])


def _blurred(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    sigma = draws.log_uniform(0.4, 2.4) * views.shape[-1] / NOMINAL_SIZE
    amount = torch.where(draws.chance(0.2), -draws.uniform(0.5, 2.0), 1.0)[:, None, None, None]
    return (views + amount * (gaussian_blur(views, sigma) - views)).clamp(0, 1)


def _noisy(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    noise = draws.normal(*views.shape)
    noisy = (views + noise * draws.uniform(0, 0.12)[:, None, None, None]).clamp(0, 1)
    moved, order = _draw_shuffle(draws, noisy, draws.uniform(0.05, 0.3))
    return _shuffled(draws, noisy, moved & draws.chance(0.5)[:, None], order)
