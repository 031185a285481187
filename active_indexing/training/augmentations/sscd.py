"""The augmentations of SSCD, batched on the device of the images: SIMCLR, STRONG_BLUR, ADVANCED.

[SSCD] Pizzi et al., CVPR 2022, section 3.3; constants of the published training program. Both views of an
image go through the same edits. Deviations, all for batching: text and stickers are this project's drawings
in place of AugLy's fonts and emoji; colour jitter runs in one random order per batch; JPEG is kornia's codec.
:mod:`active_indexing.training.augmentations.sscd_pil` has the per-image form with Pillow.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from active_indexing.extras import third_party
from active_indexing.images.tensors import LUMA
from active_indexing.training.augmentations.degradation import gaussian_blur
from active_indexing.training.augmentations.drawings import draw_all
from active_indexing.training.augmentations.geometry import box_map
from active_indexing.training.augmentations.overlays import add_stickers, add_texts, sample
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import MadeAlike

# Ranges of torchvision's RandomResizedCrop.
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
JITTER = 0.8  # brightness, contrast, saturation: factor in [1 - 0.8, 1 + 0.8]
JITTER_HUE = 0.2  # turns
# Standard deviations are given at this view size, and scale with the view.
PUBLISHED_SIZE = 224
WEAK_BLUR = (0.1, 2.0)
STRONG_BLUR = (1.0, 5.0)


class SSCDEdits(MadeAlike):
    """One of the three recipes; reference and edited views are made alike.

    Args:
        blur: range of the Gaussian blur's standard deviation at 224 pixels.
        advanced: with rotations, text, stickers and JPEG.
        seed: of the drawings.
        drawings: how many strips of text and stickers.
    """

    def __init__(
        self, blur: tuple[float, float], *, advanced: bool, seed: int = 0, drawings: int = 512
    ) -> None:
        self.blur = blur
        self.advanced = advanced
        self.drawings = draw_all(seed, drawings) if advanced else None

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`~active_indexing.training.augmentations.views.ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        pixels = images.float() / 255
        pixels = _flipped(draws, pixels)
        if self.drawings is not None:
            drawings = self.drawings.to(images.device)
            pixels = _rotated(draws, pixels, right=True)
            add_texts(draws, pixels, drawings, 0.1)
            add_stickers(draws, pixels, pixels, drawings, 0.2)
            pixels = _rotated(draws, pixels, right=False)
        views = _cropped(draws, pixels, size)
        rows = draws.chance(0.8).nonzero()[:, 0]
        views[rows] = jittered(draws.among(rows), views[rows])
        grey = (views * views.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True).expand_as(views)
        views = torch.where(draws.chance(0.2)[:, None, None, None], grey, views)
        rows = draws.chance(0.5).nonzero()[:, 0]
        if len(rows):
            sigma = draws.among(rows).uniform(*self.blur) * size / PUBLISHED_SIZE
            views[rows] = gaussian_blur(views[rows], sigma).clamp(0, 1)
        return _compressed(draws, views, 0.2) if self.advanced else views


def _flipped(draws: Draws, pixels: torch.Tensor) -> torch.Tensor:
    """Half of the views, left for right."""
    chosen = draws.chance(0.5)
    mirror = torch.diag(torch.tensor([-1.0, 1.0], device=pixels.device))
    maps = F.pad(mirror, (0, 1)).expand(len(pixels), -1, -1)
    draws.moved(maps, pixels.shape[-1], chosen=chosen)
    return torch.where(chosen[:, None, None, None], pixels.flip(3), pixels)


def _rotated(draws: Draws, pixels: torch.Tensor, *, right: bool) -> torch.Tensor:
    """One view in twenty, turned by a right angle or any whole degree, black where nothing is."""
    chosen = draws.chance(0.05)
    degrees = (draws.integers(3) + 1) * 90.0 if right else draws.integers(360).float()
    angle = torch.where(chosen, degrees, 0.0) * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    zero = torch.zeros_like(cos)
    maps = torch.stack([torch.stack([cos, sin, zero], 1), torch.stack([-sin, cos, zero], 1)], dim=1)
    draws.moved(maps, pixels.shape[-1], chosen=chosen, black_outside=True)
    return torch.where(chosen[:, None, None, None], sample(pixels, maps, pixels.shape[-1], "zeros"), pixels)


def _cropped(draws: Draws, pixels: torch.Tensor, size: int) -> torch.Tensor:
    """Random resized crops, sampled with bilinear interpolation."""
    area, ratio = draws.uniform(*CROP_AREA), draws.log_uniform(*CROP_RATIO)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = draws.uniform(-1, 1) * (1 - width), draws.uniform(-1, 1) * (1 - height)
    zero = torch.zeros_like(x)
    maps = box_map(zero, zero, 1 / width, 1 / height)
    maps[:, :, 2] = torch.stack([x, y], dim=1)
    draws.moved(maps, size)
    return sample(pixels, maps, size)


def jittered(draws: Draws, pixels: torch.Tensor, strength: float = JITTER) -> torch.Tensor:
    """Brightness, contrast, saturation and hue in one random order, as torchvision defines each.

    Args:
        draws: one value per view.
        pixels: (B, 3, S, S) in [0, 1].
        strength: factors of the first three are within 1 - strength and 1 + strength.
    """
    if not len(pixels):
        return pixels
    luma = pixels.new_tensor(LUMA)[:, None, None]
    factors = [draws.uniform(1 - strength, 1 + strength)[:, None, None, None] for _ in range(3)]
    turn = draws.uniform(-JITTER_HUE, JITTER_HUE) * 2 * math.pi
    for kind in torch.randperm(4, generator=draws.generator).tolist():
        grey = (pixels * luma).sum(dim=1, keepdim=True)
        if kind == 0:
            pixels = pixels * factors[0]
        elif kind == 1:
            mean = grey.mean(dim=(2, 3), keepdim=True)
            pixels = mean + factors[1] * (pixels - mean)
        elif kind == 2:
            pixels = grey + factors[2] * (pixels - grey)
        else:
            pixels = third_party("kornia.enhance", "training").adjust_hue(pixels, turn)
        pixels = pixels.clamp(0, 1)
    return pixels


def _compressed(draws: Draws, views: torch.Tensor, probability: float) -> torch.Tensor:
    """JPEG of a whole quality from 1 to 100 (published: 0 to 100, where libjpeg takes 0 for 1)."""
    rows = draws.chance(probability).nonzero()[:, 0]
    if not len(rows):
        return views
    quality = (draws.among(rows).integers(101)).clamp(min=1).float()
    views[rows] = jpeg_coded(views[rows], quality)
    return views


def jpeg_coded(views: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Kornia's JPEG of (B, 3, S, S) views with a quality each, (B,) from 1 to 100."""
    # The codec works on blocks of 16 pixels.
    size = views.shape[-1]
    extra = -size % 16
    padded = F.pad(views, (0, extra, 0, extra), mode="replicate")
    coded: torch.Tensor = third_party("kornia.enhance", "training").jpeg_codec_differentiable(padded, quality)
    return coded[:, :, :size, :size].clamp(0, 1)
