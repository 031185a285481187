"""Changes of an image's pixels in whole grey levels, scaled so that the released file meets a PSNR.

A released pixel is clip(pixel + round(strength x field), 0, 255). Images are walked in bands of rows that fit
into the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from active_indexing.metrics import image_quality

TOLERANCE = 0.03  # dB between the PSNR asked for and the one that was met
MISS = 0.1  # dB; a worse release is chosen only where there is no better trial, and the manifest tells
TRIALS = 12  # at most, for one image
BESIDE = (0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2)  # times the strength, tried where an encoder jumps
PHASES = 8  # fractions of a step of a small perturbation, taken by turns of the rows
_BAND_PIXELS = 1 << 16


class Perturbation(Protocol):
    """A perturbation at full size that can be made stronger or weaker."""

    def at(self, strength: float, rows: slice) -> np.ndarray:
        """round(strength x field) in grey levels, (h, W, 3) int16, of some rows."""
        ...


@dataclass(frozen=True, eq=False)
class FullPerturbation:
    """A perturbation that has the image's size.

    Attributes:
        field: (H, W, 3) float32 in grey levels.
    """

    field: np.ndarray

    def at(self, strength: float, rows: slice) -> np.ndarray:
        """See :class:`Perturbation`."""
        levels = np.rint(self.field[rows] * np.float32(strength))
        return levels.clip(-image_quality.PEAK, image_quality.PEAK).astype(np.int16)


class UpsampledPerturbation:
    """A small perturbation, enlarged bilinearly to the image's size in steps of 1/127 of its largest value.

    Were all values of a step rounded alike, a slightly larger strength would move them all at once, and the
    PSNR would jump; so the rows take turns at ``PHASES`` values within the step.

    Args:
        field: (h, w, 3) float32 in grey levels.
        size: (H, W) of the image.
    """

    def __init__(self, field: np.ndarray, size: tuple[int, int]) -> None:
        self._step = float(np.abs(field).max()) / 127
        small = np.rint(field / (self._step or 1.0) + 128).astype(np.uint8)
        self._bytes = np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BILINEAR))

    def at(self, strength: float, rows: slice) -> np.ndarray:
        """See :class:`Perturbation`."""
        found = self._bytes[rows]
        turns = np.arange(len(self._bytes))[rows, None, None] % PHASES
        size = np.float32(self._step * strength)
        levels = found * size
        levels += ((turns + 0.5) / PHASES - 0.5 - 128).astype(np.float32) * size
        return np.rint(levels, out=levels).astype(np.int16)


@dataclass(frozen=True, eq=False)
class MaskedPerturbation:
    """A change that leaves fully transparent pixels, whose colours nobody sees, as they are.

    Attributes:
        change: of all pixels.
        alpha: (H, W) uint8 opacity.
    """

    change: Perturbation
    alpha: np.ndarray

    def at(self, strength: float, rows: slice) -> np.ndarray:
        """See :class:`Perturbation`."""
        return np.where(self.alpha[rows, :, None] == 0, np.int16(0), self.change.at(strength, rows))


def perturbed(pixels: np.ndarray, change: Perturbation, strength: float) -> np.ndarray:
    """Pixels (H, W, 3) uint8 with a change added, clipped to [0, 255]."""
    out = np.empty_like(pixels)
    for rows in _bands(pixels):
        np.clip(
            pixels[rows] + change.at(strength, rows), 0, image_quality.PEAK, out=out[rows], casting="unsafe"
        )
    return out


def strength_for_psnr(
    pixels: np.ndarray,
    change: Perturbation,
    psnr: float,
    finish: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[float, float]:
    """The strength at which the released pixels are ``psnr`` from those released without the change.

    Args:
        pixels: (H, W, 3) uint8.
        change: what is added.
        psnr: decibels.
        finish: what the released format does to pixels, e.g. JPEG; nothing by default.

    Returns:
        (strength, decibels met): the strength of the nearest trial. They differ from what was asked where
        no strength reaches it (a flat change, clipped pixels, a coarse format).
    """
    plain = pixels if finish is None else finish(pixels)

    def met_at(strength: float) -> float:
        if finish is None:
            return _psnr(pixels, change, strength)
        return image_quality.psnr(plain, finish(perturbed(pixels, change, strength)))

    found = _bracketed(met_at, _first_guess(pixels, change, psnr), psnr)
    if abs(found[1] - psnr) <= TOLERANCE or finish is None or not np.isfinite(found[1]):
        return found
    # An encoder's decisions make the PSNR jump: there may be a better place beside the jump.
    beside = [(found[0] * factor, met_at(found[0] * factor)) for factor in BESIDE]
    return min([found, *beside], key=lambda trial: (trial[1] < psnr - MISS, abs(trial[1] - psnr)))


def _bracketed(met_at: Callable[[float], float], strength: float, psnr: float) -> tuple[float, float]:
    """The best (strength, decibels met) of a search between too weak and too strong."""
    low, high, best = 0.0, np.inf, (0.0, np.inf)
    for _ in range(TRIALS):
        met = met_at(strength)
        if abs(met - psnr) < abs(best[1] - psnr):
            best = strength, met
        if abs(met - psnr) <= TOLERANCE:
            break
        low, high = (strength, high) if met > psnr else (low, strength)
        step = strength * 10 ** ((min(met, psnr + 20) - psnr) / 20)
        if not low < step < high:
            step = (low + high) / 2 if np.isfinite(high) else 2 * strength
        strength = step
    return best


def _first_guess(pixels: np.ndarray, change: Perturbation, psnr: float) -> float:
    """From the change's own mean square, with a twelfth for the rounding."""
    coarse = slice(None, None, max(1, pixels.size // (3 * _BAND_PIXELS)))
    mean_square = float(np.square(change.at(1.0, coarse), dtype=np.float32).mean())
    wanted = image_quality.PEAK**2 / 10 ** (psnr / 10)
    return float(np.sqrt(max(wanted - 1 / 12, wanted / 4) / mean_square)) if mean_square else 1.0


def _psnr(pixels: np.ndarray, change: Perturbation, strength: float) -> float:
    """Of ``perturbed``, which is not kept."""
    squares = 0
    for rows in _bands(pixels):
        before = pixels[rows].astype(np.int16)
        moved = np.clip(before + change.at(strength, rows), 0, image_quality.PEAK) - before
        squares += int(np.square(moved, dtype=np.int32).sum(dtype=np.int64))
    return float(10 * np.log10(image_quality.PEAK**2 * pixels.size / squares)) if squares else float("inf")


def _bands(pixels: np.ndarray) -> Iterator[slice]:
    step = max(1, _BAND_PIXELS // pixels.shape[1])
    return (slice(top, top + step) for top in range(0, len(pixels), step))
