"""How visible a change is at each place: what keeps a few spots from spending the budget of a whole image.

A differentiable model of Butteraugli's largest distance: squared differences in XYB, blurred to three scales,
weighed, and masked by the contrast around. Its numbers were fitted to ``butteraugli_main`` of libjxl 0.7 on
66 pairs (photos 000-299 under the changes of ten methods, PSNR 37 to 46; four of them grey). On 66 other
pairs the logarithm of the maximum is off by 0.17 (root mean square), the correlation is 0.97; of grey photos
it sees too little, up to 1.8 times. It is no measure to report: what is reported is Butteraugli itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# XYB as in metrics.ssimulacra2, libjxl lib/jxl/cms/opsin_params.h.
_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55181),
)
_BIAS = 0.0037930732552754493
_X_GAIN = 14.0

# The fit.
_SIGMAS = (1.5, 3.0, 6.0)  # photo pixels
_WEIGHTS = ((2020.0, 0.0, 0.0), (4720.0, 0.0, 0.0), (320.0, 154.0, 986.0))  # of X, Y, B - Y at each sigma
_MASK_SIGMA = 3.0  # photo pixels
_MASK_KNEE = 0.0389  # of the contrast in Y
_MASK_POWER = 0.303

LEAST_SIGMA = 0.5  # working pixels; a narrower Gaussian does nothing
SPREAD = 5  # working pixels around a spot that are toned down with it


class Blotches:
    """Compares changed images with their originals.

    Args:
        pictures: (B, 3, h, w) RGB in [0, 1], the originals.
        scale: working pixels per photo pixel.
    """

    def __init__(self, pictures: Tensor, scale: float) -> None:
        self._scale, self._xyb = scale, _xyb(pictures)
        luma = self._xyb[:, 1:2]
        contrast = self._blurred((luma - self._blurred(luma, _MASK_SIGMA)).square(), _MASK_SIGMA).sqrt()
        self._mask = (contrast + _MASK_KNEE).pow(-_MASK_POWER)

    def distances(self, moved: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, 1, h, w): Butteraugli's distance of each place, about."""
        difference = _xyb(moved) - self._xyb
        total = torch.zeros_like(self._mask)
        for sigma, weights in zip(_SIGMAS, torch.tensor(_WEIGHTS).T.to(moved), strict=True):
            squares = self._blurred(difference, sigma).square()
            total = total + (squares * weights[:, None, None]).sum(dim=1, keepdim=True)
        return total.sqrt() * self._mask

    def toned_down(self, moved: Tensor, limit: float) -> Tensor:
        """(B, 1, h, w) factors in (0, 1] that bring a change under the limit, smooth from place to place."""
        factors = (limit / self.distances(moved).clamp_min(limit)).clamp_max(1.0)
        least = -F.max_pool2d(-factors, SPREAD, 1, SPREAD // 2)
        framed = F.pad(least, (SPREAD // 2,) * 4, mode="replicate")
        return F.avg_pool2d(framed, SPREAD, 1)

    def _blurred(self, planes: Tensor, sigma: float) -> Tensor:
        return gaussian(planes, sigma * self._scale)


def gaussian(planes: Tensor, sigma: float) -> Tensor:
    """(B, C, h, w) under a Gaussian, the border repeated outside; as it is for less than ``LEAST_SIGMA``."""
    if sigma < LEAST_SIGMA:
        return planes
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma).square())
    weights = weights / weights.sum()
    flat = planes.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weights[None, None, None])
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weights[None, None, :, None])
    return flat[:, 0].unflatten(0, planes.shape[:2])


def _xyb(pixels: Tensor) -> Tensor:
    """(B, 3, h, w) sRGB in [0, 1] to X, Y, B - Y."""
    low = pixels / 12.92
    linear = torch.where(pixels <= 0.04045, low, ((pixels.clamp_min(0.04045) + 0.055) / 1.055).pow(2.4))
    mixed = torch.einsum("kc,bchw->bkhw", pixels.new_tensor(_ABSORBANCE), linear)
    cones = (mixed + _BIAS).pow(1 / 3) - _BIAS ** (1 / 3)
    luma = (cones[:, 0] + cones[:, 1]) / 2
    return torch.stack([_X_GAIN * (cones[:, 0] - cones[:, 1]) / 2, luma, cones[:, 2] - luma], dim=1)
