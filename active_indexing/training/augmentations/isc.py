"""The augmentations of the first place of ISC21's descriptor track, batched on the device of the images.

[ISC] Yokoo, "Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction for Accurate Copy
Detection", 2021, and its published program, whose three steps differ in strength. The reference view is a
moderate crop; the edited view is turned, cropped or put on another image, and goes through a list of edits in
random order. Deviations, for batching: one order per batch; text and stickers are this project's drawings,
other images are those of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from active_indexing.images.tensors import LUMA
from active_indexing.training.augmentations.degradation import gaussian_blur, pixelate, shuffle_pixels
from active_indexing.training.augmentations.drawings import draw_all
from active_indexing.training.augmentations.geometry import box_map, inside
from active_indexing.training.augmentations.overlays import add_stickers, add_texts, sample
from active_indexing.training.augmentations.random_draws import Draws
from active_indexing.training.augmentations.sscd import CROP_RATIO, jittered, jpeg_coded
from active_indexing.training.augmentations.traces import PixelTrace

MODERATE_CROP = (0.7, 1.0)
HARD_CROP = (0.15, 1.0)
ALWAYS = 0.25  # chance of what is as frequent in all three steps: rotation, pixels, grey, blur, erasing
SHUFFLED = 0.1  # share of pixels
QUALITIES = (10.0, 20.0, 30.0, 50.0)
# Of torchvision, where the published program names no other.
PERSPECTIVE = 0.5
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)
# Pillow's EDGE_ENHANCE.
EDGES = torch.tensor([[-1.0, -1, -1], [-1, 10, -1], [-1, -1, -1]]) / 2


@dataclass(frozen=True)
class Strength:
    """What differs between the steps.

    Attributes:
        overlay: chance to be put on another image, and to get another image put on.
        overlay_size: edge of what is put on, in units of what is below.
        opacity: least of what is put on.
        jitter: of brightness, contrast and saturation.
        chance: of JPEG, perspective, text, stickers.
        edges: chance of enhanced edges.
    """

    overlay: float
    overlay_size: tuple[float, float]
    opacity: float
    jitter: float
    chance: float
    edges: float


STRENGTHS = {
    "isc_v83": Strength(0.05, (0.4, 0.6), 0.6, 0.7, 0.25, 0.25),
    "isc_v86": Strength(0.075, (0.3, 0.7), 0.5, 0.75, 0.3, 0.3),
    "isc_v98": Strength(0.1, (0.2, 0.8), 0.4, 0.8, 0.35, 0.3),
}


class ISCEdits:
    """Moderate reference views and hard edited views.

    Args:
        strength: of the edited views.
        seed: of the drawings.
        drawings: how many strips of text and stickers.
    """

    def __init__(self, strength: Strength, *, seed: int = 0, drawings: int = 512) -> None:
        self.strength = strength
        self.drawings = draw_all(seed, drawings)

    def reference_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`~active_indexing.training.augmentations.views.ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        maps = _crop(draws, MODERATE_CROP, torch.zeros(len(images), device=images.device))
        return _mirrored(draws, _moved(draws, images.float() / 255, maps, size), 0.5, -1.0, 1.0)

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`~active_indexing.training.augmentations.views.ViewMaker`."""
        draws = Draws(generator, len(images), images.device, trace=trace)
        pixels, strength = images.float() / 255, self.strength
        below, above = draws.chance(strength.overlay), draws.chance(strength.overlay)
        turned = torch.where(draws.chance(ALWAYS), draws.uniform(-math.pi, math.pi), 0.0)
        moderate, hard = (_crop(draws, area, turned) for area in (MODERATE_CROP, HARD_CROP))
        maps = torch.where((below | above)[:, None, None], moderate, hard)
        views = _moved(draws, pixels, maps, size)
        views = self._on_another(draws, views, pixels, below)
        self._under_another(draws, views, pixels, above)
        edits = self._list()
        for number in torch.randperm(len(edits), generator=generator).tolist():
            views = edits[number](draws, views, pixels)
        _erase(draws, views)
        return views

    def _on_another(
        self, draws: Draws, views: torch.Tensor, pixels: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """The view as a small picture on another image of the batch."""
        maps = _box(draws, self.strength.overlay_size)
        opacity = draws.uniform(self.strength.opacity, 1.0)[:, None, None, None]
        size = views.shape[-1]
        draws.moved(maps, size, chosen=chosen, black_outside=True)
        ground = F.interpolate(_others(draws, pixels), (size, size), mode="bilinear", antialias=True)
        share = inside(maps, size) * opacity
        made = sample(views, maps, size) * share + ground * (1 - share)
        return torch.where(chosen[:, None, None, None], made, views)

    def _under_another(
        self, draws: Draws, views: torch.Tensor, pixels: torch.Tensor, chosen: torch.Tensor
    ) -> None:
        """Another image of the batch as a small picture on the view, in place."""
        maps = _box(draws, self.strength.overlay_size)
        opacity = draws.uniform(self.strength.opacity, 1.0)[:, None, None, None]
        size = views.shape[-1]
        share = inside(maps, size) * opacity * chosen[:, None, None, None]
        draws.covered(share[:, 0])
        views.copy_(views * (1 - share) + sample(_others(draws, pixels), maps, size) * share)

    def _list(self) -> list[Callable[[Draws, torch.Tensor, torch.Tensor], torch.Tensor]]:
        """Edits whose order is drawn; each takes views and images and gives views."""
        chance = self.strength.chance

        def on_some(
            probability: float, edit: Callable[[Draws, torch.Tensor], torch.Tensor]
        ) -> Callable[[Draws, torch.Tensor, torch.Tensor], torch.Tensor]:
            def apply(draws: Draws, views: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
                rows = draws.chance(probability).nonzero()[:, 0]
                if len(rows):
                    views[rows] = edit(draws.among(rows), views[rows])
                return views

            return apply

        return [
            on_some(1.0, lambda draws, views: jittered(draws, views, self.strength.jitter)),
            on_some(ALWAYS, _pixelated),
            on_some(ALWAYS, _shuffled),
            on_some(chance, _compressed),
            on_some(ALWAYS, _grey),
            on_some(ALWAYS, _blurred),
            on_some(self.strength.edges, _with_edges),
            lambda draws, views, _: _in_perspective(draws, views, chance),
            lambda draws, views, _: _mirrored(draws, views, 0.5, -1.0, 1.0),
            lambda draws, views, _: _mirrored(draws, views, 0.1, 1.0, -1.0),
            self._texts,
            self._stickers,
        ]

    def _texts(self, draws: Draws, views: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        add_texts(draws, views, self.drawings.to(views.device), self.strength.chance)
        return views

    def _stickers(self, draws: Draws, views: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        add_stickers(draws, views, pixels, self.drawings.to(views.device), self.strength.chance)
        return views


def _crop(draws: Draws, area: tuple[float, float], angle: torch.Tensor) -> torch.Tensor:
    """Maps of random resized crops of images that are turned first."""
    share, ratio = draws.uniform(*area), draws.log_uniform(*CROP_RATIO)
    width, height = (share * ratio).sqrt().clamp(max=1), (share / ratio).sqrt().clamp(max=1)
    x, y = draws.uniform(-1, 1) * (1 - width), draws.uniform(-1, 1) * (1 - height)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * width, sin * height, cos * x + sin * y], dim=1),
        torch.stack([-sin * width, cos * height, cos * y - sin * x], dim=1),
    ]
    return torch.stack(rows, dim=1)


def _moved(draws: Draws, pixels: torch.Tensor, maps: torch.Tensor, size: int) -> torch.Tensor:
    draws.moved(maps, size, black_outside=True)
    return sample(pixels, maps, size) * inside(maps, size)


def _box(draws: Draws, sizes: tuple[float, float]) -> torch.Tensor:
    half = draws.uniform(*sizes)
    return box_map(draws.uniform(-1, 1) * (1 - half), draws.uniform(-1, 1) * (1 - half), half, half)


def _others(draws: Draws, pixels: torch.Tensor) -> torch.Tensor:
    """Another image of the batch for each."""
    count = len(pixels)
    step = 1 + draws.integers(max(1, count - 1))
    return pixels[(torch.arange(count, device=pixels.device) + step) % count]


def _mirrored(draws: Draws, views: torch.Tensor, probability: float, x: float, y: float) -> torch.Tensor:
    chosen = draws.chance(probability)
    mirror = torch.diag(torch.tensor([x, y], device=views.device))
    maps = F.pad(mirror, (0, 1)).expand(len(views), -1, -1)
    draws.moved(maps, views.shape[-1], chosen=chosen)
    return torch.where(chosen[:, None, None, None], views.flip(3 if x < 0 else 2), views)


def _in_perspective(draws: Draws, views: torch.Tensor, probability: float) -> torch.Tensor:
    """Corners moved inwards by up to half of half an edge each, black outside."""
    chosen, size = draws.chance(probability), views.shape[-1]
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], device=views.device)
    seen = corners * (1 - PERSPECTIVE * draws.fraction(len(views), 4, 2))
    grid = homography_grid(seen, corners, size)
    draws.moved_freely(grid, chosen=chosen, black_outside=True)
    made = F.grid_sample(views, grid, padding_mode="zeros", align_corners=False)
    return torch.where(chosen[:, None, None, None], made, views)


def homography_grid(seen: torch.Tensor, source: torch.Tensor, size: int) -> torch.Tensor:
    """Where each pixel is sampled if four points of the source are seen at four places.

    Args:
        seen: (B, 4, 2) x and y in [-1, 1].
        source: (4, 2) the points of the source.
        size: of the views, pixels.

    Returns:
        (B, size, size, 2).
    """
    x, y = seen.unbind(dim=2)
    u, v = source.expand(len(seen), -1, -1).unbind(dim=2)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    upper = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=2)
    lower = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=2)
    solved = torch.linalg.solve(torch.cat([upper, lower], dim=1), torch.cat([u, v], dim=1))
    matrix = F.pad(solved, (0, 1), value=1.0).view(-1, 3, 3)
    middle = (torch.arange(size, device=seen.device) + 0.5) / size * 2 - 1
    points = torch.stack([*torch.meshgrid(middle, middle, indexing="xy"), torch.ones(size, size).to(middle)])
    mapped = torch.einsum("bij,jhw->bhwi", matrix, points)
    return mapped[..., :2] / mapped[..., 2:]


def _pixelated(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    return pixelate(views, max(6, int(views.shape[-1] * float(draws.uniform(0.1, 1.0)[0]))))


def _shuffled(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    return shuffle_pixels(draws, views, torch.full((len(views),), SHUFFLED, device=views.device))


def _compressed(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    return jpeg_coded(views, torch.tensor(QUALITIES, device=views.device)[draws.integers(len(QUALITIES))])


def _grey(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    return (views * views.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True).expand_as(views)


def _blurred(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    return gaussian_blur(views, draws.uniform(0.5, 5.0) * views.shape[-1] / 256).clamp(0, 1)


def _with_edges(draws: Draws, views: torch.Tensor) -> torch.Tensor:
    kernel = EDGES.to(views).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(views, (1, 1, 1, 1), mode="replicate"), kernel, groups=3).clamp(0, 1)


def _erase(draws: Draws, views: torch.Tensor) -> None:
    """Paint a rectangle of one colour over a quarter of the views, in place."""
    chosen, size = draws.chance(ALWAYS), views.shape[-1]
    area, ratio = draws.uniform(*ERASED_AREA), draws.log_uniform(*ERASED_RATIO)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = draws.uniform(-1, 1) * (1 - width), draws.uniform(-1, 1) * (1 - height)
    covered = inside(box_map(x, y, width, height), size) & chosen[:, None, None, None]
    draws.covered(covered[:, 0])
    views.copy_(torch.where(covered, draws.colours()[:, :, None, None], views))
