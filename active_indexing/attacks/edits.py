"""The single edits of the published attack lists: PIL RGB in, PIL RGB out.

Meanings and parameter names are those of the published active_indexing program. Sizes that come out as zero
pixels, and images that are too small for an edit, raise an error.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np
from PIL import Image

from active_indexing.attacks import augly_compat, screenshots
from active_indexing.attacks.failure import check_canvas

_BAND_PIXELS = 2**16  # of float32 colours: 800 kB


@functools.cache
def _tv() -> Any:
    """Torchvision's edits of Pillow images; imported on first use, since it takes 1.7 s of CPU time."""
    return importlib.import_module("torchvision.transforms.functional")


def none(image: Image.Image) -> Image.Image:
    """A copy of the image."""
    return image.copy()


def rotation(image: Image.Image, angle: float) -> Image.Image:
    """Rotate counter-clockwise by ``angle`` degrees, bilinear, on a black canvas that holds all of it."""
    check_canvas(expanded_pixels(image.size, angle))
    return _tv().rotate(image, angle, _tv().InterpolationMode.BILINEAR, expand=True)


def center_crop(image: Image.Image, scale: float) -> Image.Image:
    """Keep the central ``scale`` of the area; edges are multiplied by sqrt(scale) and truncated."""
    return _tv().center_crop(image, _scaled_edges(image, scale))


def resize(image: Image.Image, scale: float) -> Image.Image:
    """Shrink to ``scale`` of the area, bilinear; edges are multiplied by sqrt(scale) and truncated."""
    return _tv().resize(image, _scaled_edges(image, scale))


def blur(image: Image.Image, kernel_size: int) -> Image.Image:
    """Gaussian blur of ``kernel_size`` taps, mirrored at the borders.

    Sigma is 0.15 kernel_size + 0.35, torchvision's default. The result is torchvision's to within one grey
    level, in two one-dimensional passes over bands of rows that fit into the cache: at 12 megapixels and
    kernel_size 11 that took 0.15 s, SciPy's two passes 0.42 s, torchvision 11 s and 1.6 GB.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    radius = kernel_size // 2
    taps = _gaussian(radius, sigma=0.15 * kernel_size + 0.35)
    pixels = np.pad(np.asarray(image), ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    blurred = np.empty((image.height, image.width, 3), np.uint8)
    band = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, band):
        rows = pixels[top : top + band + 2 * radius].astype(np.float32)
        smooth = _smoothed(_smoothed(rows, taps, axis=0), taps, axis=1)
        blurred[top : top + band] = np.rint(smooth, out=smooth)
    return Image.fromarray(blurred)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG of ``quality`` 0 to 100, chroma at half resolution, and decode."""
    return augly_compat.call("encoding_quality", image, quality=quality)


def hue(image: Image.Image, hue_factor: float) -> Image.Image:
    """Turn the colour circle by ``hue_factor``, a fraction of a whole turn in [-0.5, 0.5]."""
    return _tv().adjust_hue(image, hue_factor)


def contrast(image: Image.Image, contrast_factor: float) -> Image.Image:
    """Multiply the distance from the mean grey level; 1 changes nothing."""
    return _tv().adjust_contrast(image, contrast_factor)


def brightness(image: Image.Image, brightness_factor: float) -> Image.Image:
    """Multiply the grey levels; 1 changes nothing."""
    return _tv().adjust_brightness(image, brightness_factor)


def meme_format(image: Image.Image) -> Image.Image:
    """A white caption "LOL", 250 pixels high, on top of the image."""
    return augly_compat.call("meme_format", image)


def overlay_onto_screenshot(image: Image.Image, template: str) -> Image.Image:
    """The image scaled into the box of a screenshot template.

    Args:
        image: RGB.
        template: as returned by :func:`screenshots.check_template`.
    """
    template_file, boxes_file = screenshots.locate(template)
    return augly_compat.call(
        "overlay_onto_screenshot", image, template_filepath=template_file, template_bboxes_filepath=boxes_file
    )


def overlay_emoji(image: Image.Image) -> Image.Image:
    """AugLy's default emoji, 15 % of the image's height, in the lower middle."""
    return augly_compat.call("overlay_emoji", image)


def grayscale(image: Image.Image) -> Image.Image:
    """The luma in all three channels."""
    return augly_compat.call("grayscale", image)


def hflip(image: Image.Image) -> Image.Image:
    """Mirror left and right."""
    return _tv().hflip(image)


def vflip(image: Image.Image) -> Image.Image:
    """Mirror top and bottom."""
    return _tv().vflip(image)


def expanded_pixels(size: tuple[int, int], degrees: float) -> float:
    """Pixels of the canvas that holds an image of ``size`` (width, height) rotated by ``degrees``."""
    width, height = size
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    return (width * cosine + height * sine) * (width * sine + height * cosine)


def _gaussian(radius: int, sigma: float) -> np.ndarray:
    """Taps at distances 0 to ``radius`` of a Gaussian kernel whose 2 radius + 1 taps add up to 1, float32."""
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    return (taps / (taps[0] + 2 * taps[1:].sum())).astype(np.float32)


def _smoothed(pixels: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    """Symmetric filter along one axis, which gets shorter by the two margins that it reads."""
    radius = len(taps) - 1
    length = pixels.shape[axis] - 2 * radius
    shifted = [
        pixels[start : start + length] if axis == 0 else pixels[:, start : start + length]
        for start in range(2 * radius + 1)
    ]
    smooth = shifted[radius] * taps[0]
    for distance in range(1, radius + 1):
        pair = shifted[radius - distance] + shifted[radius + distance]
        pair *= taps[distance]
        smooth += pair
    return smooth


def _scaled_edges(image: Image.Image, scale: float) -> list[int]:
    edge = math.sqrt(scale)
    height, width = int(image.height * edge), int(image.width * edge)
    if height < 1 or width < 1:
        raise ValueError(f"no pixel is left at scale {scale}")
    return [height, width]
