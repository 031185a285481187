"""The augmentations of SSCD one image at a time with Pillow, as the published program makes them.

Slower than :mod:`active_indexing.training.augmentations.sscd` by an order of magnitude; for checking it, and
for trainings that must see Pillow's own filters and JPEG. Text and stickers are this project's drawings.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import functional as F

from active_indexing.training.augmentations.drawings import Drawings, draw_all
from active_indexing.training.augmentations.sscd import (
    CROP_AREA,
    CROP_RATIO,
    JITTER,
    JITTER_HUE,
    PUBLISHED_SIZE,
)
from active_indexing.training.augmentations.traces import PixelTrace
from active_indexing.training.augmentations.views import MadeAlike

CROP_ATTEMPTS = 10  # of torchvision's RandomResizedCrop, before it takes the whole image


class PILEdits(MadeAlike):
    """One of the three recipes; reference and edited views are made alike.

    Args:
        blur: range of the Gaussian blur's radius (its standard deviation) at 224 pixels.
        advanced: with rotations, text, stickers and JPEG.
        seed: of the drawings.
        drawings: how many strips of text and stickers.
    """

    def __init__(
        self, blur: tuple[float, float], *, advanced: bool, seed: int = 0, drawings: int = 512
    ) -> None:
        self.blur = blur
        self.drawings = draw_all(seed, drawings) if advanced else None

    def edited_views(
        self,
        images: torch.Tensor,
        size: int,
        generator: torch.Generator,
        trace: PixelTrace | None = None,
    ) -> torch.Tensor:
        """See :class:`~active_indexing.training.augmentations.views.ViewMaker`."""
        if trace is not None:
            raise ValueError(
                "edits of Pillow are not traced; choose the batched ones, such as advanced for advanced_pil."
            )
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        views = [self.edit(F.to_pil_image(image.cpu()), size, rng) for image in images]
        return torch.stack([F.to_tensor(view) for view in views]).to(images.device)

    def edit(self, image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
        """One view of one RGB image, (size, size) pixels."""
        if rng.random() < 0.5:
            image = F.hflip(image)
        if self.drawings is not None:
            image = _cluttered(image, self.drawings, rng)
        view = _cropped(image, size, rng)
        if rng.random() < 0.8:
            view = _jittered(view, rng)
        if rng.random() < 0.2:
            view = F.to_grayscale(view, num_output_channels=3)
        if rng.random() < 0.5:
            view = view.filter(ImageFilter.GaussianBlur(rng.uniform(*self.blur) * size / PUBLISHED_SIZE))
        if self.drawings is not None and rng.random() < 0.2:
            view = _compressed(view, int(rng.integers(101)))
        return view


def _cluttered(image: Image.Image, drawings: Drawings, rng: np.random.Generator) -> Image.Image:
    """Right-angled rotation, text, sticker, rotation by whole degrees, each with its chance."""
    if rng.random() < 0.05:
        image = image.rotate(90 * int(rng.integers(1, 4)), Image.Resampling.BILINEAR)
    if rng.random() < 0.1:
        text = drawings.texts[int(rng.integers(len(drawings.texts)))][0]
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        layer = Image.new("RGB", (text.shape[1], text.shape[0]), colour)
        image = _pasted(image, layer, text, rng.uniform(0.1, 0.3), rng.uniform(0.1, 1.0), rng)
    if rng.random() < 0.2:
        sticker = drawings.stickers[int(rng.integers(len(drawings.stickers)))]
        layer = F.to_pil_image(sticker[:3])
        image = _pasted(image, layer, sticker[3], rng.uniform(0.1, 0.5), rng.uniform(0.7, 1.0), rng)
    if rng.random() < 0.05:
        image = image.rotate(int(rng.integers(360)), Image.Resampling.BILINEAR)
    return image


def _pasted(
    image: Image.Image,
    layer: Image.Image,
    mask: torch.Tensor,
    share: float,
    opacity: float,
    rng: np.random.Generator,
) -> Image.Image:
    """A copy with a layer ``share`` of the shorter edge high, anywhere inside."""
    height = max(1, round(share * min(image.size)))
    width = min(image.width, max(1, round(height * layer.width / layer.height)))
    left = int(rng.uniform() * (image.width - width))
    top = int(rng.uniform() * (image.height - height))
    alpha = Image.fromarray((mask.numpy() * opacity).astype(np.uint8)).resize((width, height))
    result = image.copy()
    result.paste(layer.resize((width, height)), (left, top), alpha)
    return result


def _cropped(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Torchvision's RandomResizedCrop, bilinear with antialiasing."""
    top, left, height, width = 0, 0, image.height, image.width
    for _ in range(CROP_ATTEMPTS):
        area = image.width * image.height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(*np.log(CROP_RATIO)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= image.width and 0 < h <= image.height:
            height, width = h, w
            top, left = int(rng.integers(image.height - h + 1)), int(rng.integers(image.width - w + 1))
            break
    view: Image.Image = F.resized_crop(image, top, left, height, width, [size, size])
    return view


def _jittered(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Torchvision's ColorJitter: four edits in random order."""
    edits = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for kind in rng.permutation(4):
        low, high = (-JITTER_HUE, JITTER_HUE) if kind == 3 else (1 - JITTER, 1 + JITTER)
        view = edits[kind](view, rng.uniform(low, high))
    return view


def _compressed(view: Image.Image, quality: int) -> Image.Image:
    """Encode and decode JPEG in memory."""
    buffer = io.BytesIO()
    view.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
