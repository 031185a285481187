"""From pixels in [0, 1] to what a network was trained on: resize, then normalise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F

from active_indexing.descriptors.config import MOST_INPUT_EDGE
from active_indexing.images.tensors import LUMA

Resize = Literal["square", "short_edge", "long_edge"]
Interpolation = Literal["bilinear", "bicubic"]

# Mean and standard deviation of ImageNet in [0, 1] RGB; SSCD, DINO and torchvision's weights use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def grey_pixels(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) with the grey of each pixel in all three channels."""
    luma = pixels.new_tensor(LUMA)[:, None, None]
    return (pixels * luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)


@dataclass(frozen=True)
class Preprocessing:
    """Resize and normalisation of one descriptor; a picklable, differentiable function of pixels.

    The resize is on tensors, with antialiasing, before the normalisation.

    Attributes:
        size: edge of the network input, in pixels.
        resize: ``square`` squeezes the image to (size, size); ``short_edge`` and ``long_edge`` keep the
            aspect ratio and make that edge ``size`` long. The other one is rounded down after the short
            edge (torchvision's ``Resize``), to the nearest after the long one (SSCD's Copydays evaluation).
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: each RGB channel is divided by it, in [0, 1] units.
        interpolation: ``bilinear``, or ``bicubic`` with values held in [0, 1] as Pillow's are.
        grey: all three channels become the grey of the pixel.
    """

    size: int
    resize: Resize = "square"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    grey: bool = False

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1 or self.size > MOST_INPUT_EDGE:
            raise ValueError(
                f"the descriptor's input size must be at least 1 pixel and at most {MOST_INPUT_EDGE:,}, "
                f"got {self.size!r}."
            )
        for name, channels in (("mean", self.mean), ("std", self.std)):
            numbers = len(channels) == 3 and all(type(value) in (int, float) for value in channels)
            if not numbers or not all(math.isfinite(value) for value in channels) or 0 in self.std:
                raise ValueError(f"{name} must be three finite numbers, std not 0, got {channels!r}.")
        if self.resize not in get_args(Resize):
            raise ValueError(
                f"unknown resize {self.resize!r}; expected one of {', '.join(get_args(Resize))}."
            )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Preprocessing:
        """The inverse of :meth:`as_dict`, also after a round trip through JSON.

        Raises:
            ValueError: something else than what ``as_dict`` gives.
        """
        try:
            return cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"a preprocessing has size, resize, and three numbers each of mean, std; got {stored!r:.200}."
            ) from error

    def as_dict(self) -> dict[str, Any]:
        """Settings by name, as files and fingerprints keep them.

        What came after the first released files is left out at its default: it would change their
        fingerprints.
        """
        plain = {"interpolation": "bilinear", "grey": False}
        return {name: value for name, value in asdict(self).items() if plain.get(name, ()) != value}

    @property
    def name(self) -> str:
        """Short name for reports and file names, e.g. ``square160``."""
        return f"{self.resize.replace('_', '')}{self.size}{'grey' if self.grey else ''}"

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Network input of one image or of a batch.

        Args:
            pixels: (3, H, W) or (B, 3, H, W) floating point, RGB in [0, 1].

        Returns:
            (3, h, w) or (B, 3, h, w) of the same dtype and device, where (h, w) is :meth:`output_size`.

        Raises:
            ValueError: if the shape is not one of the two.
        """
        if pixels.ndim not in (3, 4) or pixels.shape[-3] != 3:
            raise ValueError(f"expected pixels (3, H, W) or (B, 3, H, W), got {tuple(pixels.shape)}.")
        batch = pixels if pixels.ndim == 4 else pixels[None]
        height, width = batch.shape[-2:]
        size = self.output_size(height, width)
        if size != (height, width):
            batch = self.resized(batch, size)
        if self.grey:
            batch = grey_pixels(batch)
        if self.interpolation == "bicubic":
            batch = batch.clamp(0, 1)
        mean = batch.new_tensor(self.mean)[:, None, None]
        std = batch.new_tensor(self.std)[:, None, None]
        batch = (batch - mean) / std
        return batch if pixels.ndim == 4 else batch[0]

    def resized(self, batch: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """(B, 3, H, W) to (B, 3, *size), neither grey nor normalised."""
        return F.interpolate(batch, size, mode=self.interpolation, antialias=True, align_corners=False)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the network input for an image of ``height`` x ``width`` pixels."""
        if self.resize == "square":
            return self.size, self.size
        if self.resize == "long_edge":
            scale = self.size / max(height, width)
            return max(1, int(scale * height + 0.5)), max(1, int(scale * width + 0.5))
        if height <= width:
            return self.size, max(self.size, self.size * width // height)
        return max(self.size, self.size * height // width), self.size
