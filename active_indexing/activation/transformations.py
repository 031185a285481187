"""Random edits as differentiable functions of the pixels, batched.

They stand for what people do to a picture: crop it, turn it, put it on a canvas, change its colours, blur
it. Activation minimises its loss over such edits ("expectation over transformation", Athalye et al., ICML
2018). They are not the attacks of the evaluation: none of AugLy's captions, screenshots, stickers or chains,
no JPEG and no change of size is among them, and every parameter is drawn from a range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from active_indexing.images.tensors import LUMA

CROP_AREA = (0.3, 1.0)  # share of the image that a crop keeps
TURN = 40.0  # degrees, either way
FRAME = (0.15, 0.75)  # height of the canvas added above and below, as a share of the image's
TONE = 2.2  # brightness and contrast are multiplied by 1/2.2 to 2.2
HUE = 0.3  # turns, either way; a rotation in the plane of I and Q (NTSC)
GEOMETRY, CANVAS, COLOUR, BLUR = 0.7, 0.25, 0.7, 0.15  # how often each happens

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True, eq=False)
class Transformations:
    """Parameters of n edits.

    Attributes:
        matrix: (n, 2, 3) float32, output to input coordinates in [-1, 1], as ``affine_grid`` takes them.
        canvas: (n,) grey level in [0, 1] outside the image.
        brightness: (n,) factor.
        contrast: (n,) factor about the mean luminance.
        hue: (n,) turns.
        blur: (n,) 1 for a 3 x 3 mean at the descriptor's input size, else 0.
    """

    matrix: Tensor
    canvas: Tensor
    brightness: Tensor
    contrast: Tensor
    hue: Tensor
    blur: Tensor

    def __len__(self) -> int:
        return len(self.matrix)

    def to(self, device: torch.device) -> Transformations:
        """The same on another device."""
        return Transformations(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def joined(parts: list[Transformations]) -> Transformations:
    """The edits of several images, one image after the other."""
    return Transformations(
        **{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Transformations)}
    )


def random_transformations(n: int, aspect: float, generator: torch.Generator) -> Transformations:
    """Draw edits.

    Args:
        n: how many.
        aspect: height / width of the image, so that turned images keep their shapes.
        generator: CPU generator.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    def happens(chance: float) -> Tensor:
        return torch.rand(n, generator=generator) < chance

    kind = torch.randint(3, (n,), generator=generator)
    moved = happens(GEOMETRY)
    cropped, turned, quarter = (moved & (kind == which) for which in range(3))
    angle = torch.where(turned, uniform(-TURN, TURN), torch.zeros(n))
    angle = torch.where(quarter, 90.0 * torch.randint(4, (n,), generator=generator), angle)
    area = torch.where(cropped, uniform(*CROP_AREA), torch.where(moved, uniform(0.6, 1.0), torch.ones(n)))
    whole = turned & happens(0.5)  # turned with all of it kept, on a canvas
    zoom = torch.where(whole, torch.ones(n), area.sqrt())
    matrix = turn_matrix(angle, aspect, whole | quarter) * zoom[:, None, None]
    shift = torch.stack([uniform(-1, 1), uniform(-1, 1)], dim=1) * (1 - zoom)[:, None]
    framed = ~moved & happens(CANVAS / (1 - GEOMETRY))
    frame = torch.where(framed, uniform(*FRAME), torch.zeros(n))
    matrix[:, 1] *= (1 + frame)[:, None]
    shift[:, 1] += frame * uniform(-1, 1)
    matrix[:, :, 2] = shift
    tone, which = happens(COLOUR), torch.randint(3, (n,), generator=generator)
    exponent = uniform(-1, 1) * math.log(TONE)
    return Transformations(
        matrix=matrix,
        canvas=happens(0.5).float(),
        brightness=torch.exp(exponent * (tone & (which == 0))),
        contrast=torch.exp(exponent * (tone & (which == 1))),
        hue=uniform(-HUE, HUE) * (tone & (which == 2)),
        blur=happens(BLUR).float(),
    )


def turn_matrix(degrees: Tensor, aspect: float, whole: Tensor) -> Tensor:
    """Matrices that turn an image about its centre.

    Args:
        degrees: (n,) counter-clockwise as seen.
        aspect: height / width.
        whole: (n,) bool: the output is the bounding box of the turned image; else it has the image's shape.

    Returns:
        (n, 2, 3), without a shift.
    """
    radians = torch.deg2rad(degrees)
    cosine, sine = torch.cos(radians), torch.sin(radians)
    width = torch.where(whole, cosine.abs() + aspect * sine.abs(), torch.ones_like(cosine))
    height = torch.where(whole, sine.abs() + aspect * cosine.abs(), torch.full_like(cosine, aspect))
    matrix = torch.zeros(len(degrees), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cosine * width, -sine * height
    matrix[:, 1, 0], matrix[:, 1, 1] = sine * width / aspect, cosine * height / aspect
    return matrix


def transformed(pictures: Tensor, edits: Transformations, size: tuple[int, int]) -> Tensor:
    """Edit images; differentiable in the pixels.

    Args:
        pictures: (B, 3, h, w) RGB in [0, 1].
        edits: B n of them, n for the first image, then n for the next.
        size: (height, width) of the result.

    Returns:
        (B n, 3, *size) in [0, 1].
    """
    each = len(edits) // len(pictures)
    grid = F.affine_grid(edits.matrix, [len(edits), 3, *size], align_corners=False)
    pixels = pictures.repeat_interleave(each, dim=0)
    pixels = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    outside = (grid.abs() > 1).any(dim=3)[:, None]
    pixels = pixels + outside * _each(edits.canvas)
    return _blurred(_toned(pixels, edits), edits.blur)


def _toned(pixels: Tensor, edits: Transformations) -> Tensor:
    pixels = (pixels * _each(edits.brightness)).clamp(0, 1)
    luma = pixels.new_tensor(LUMA)[:, None, None]
    mean = (pixels * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * _each(edits.contrast)
    return torch.einsum("nij,njhw->nihw", _hue_matrix(edits.hue), pixels).clamp(0, 1)


def _hue_matrix(turns: Tensor) -> Tensor:
    """(n,) turns to (n, 3, 3) on RGB."""
    yiq = turns.new_tensor(_YIQ)
    cosine, sine = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)
    rotation = turns.new_zeros(len(turns), 3, 3)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1], rotation[:, 1, 2] = cosine, -sine
    rotation[:, 2, 1], rotation[:, 2, 2] = sine, cosine
    return torch.linalg.inv(yiq) @ rotation @ yiq


def _blurred(pixels: Tensor, blur: Tensor) -> Tensor:
    smooth = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.lerp(pixels, smooth, _each(blur))


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]
