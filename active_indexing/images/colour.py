"""From any pixel mode and colour profile to upright 8-bit RGB planes, band by band.

Two versions of the colours leave this module: ``native``, in the file's own RGB space (what is
released), and ``srgb``, in sRGB on a white ground (what a descriptor sees and a viewer shows). Work
is done in horizontal bands, so the only full-size arrays are the results.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image, ImageCms

_BAND_PIXELS = 1 << 21  # pixels; a band and its working copies stay under about 30 MB
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_PROFILE_SPACE = {
    "RGB": "RGB",
    "L": "GRAY",
    "CMYK": "CMYK",
}  # pixel kind -> ICC colour space signature
_NEUTRAL_LEVELS = (
    1  # grey levels; a profile that moves no colour of a 16x16x16 grid by more is sRGB in effect
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """Decoded pixels of one still image.

    Attributes:
        native: (H, W, 3) uint8, upright, in the RGB space of ``profile`` (sRGB when it is None).
        srgb: (H, W, 3) uint8 sRGB on white; the same array as ``native`` when nothing differs.
        alpha: (H, W) uint8, or None.
        profile: ICC profile that belongs to ``native``, or None.
        notes: what had to be changed.
    """

    native: np.ndarray
    srgb: np.ndarray
    alpha: np.ndarray | None
    profile: bytes | None
    notes: tuple[str, ...]


def planes(image: Image.Image, orientation: int = 1) -> Planes:
    """Convert a loaded image to upright RGB planes.

    Args:
        image: a loaded Pillow image of any mode.
        orientation: EXIF orientation 1 to 8 that is still to be applied.

    Returns:
        The planes; ``native`` and ``srgb`` are one array when profile and alpha change nothing.

    Raises:
        ValueError: if the pixel values have no clear range (float or 32-bit grey).
    """
    _check_range(image)
    kind = _kind(image.mode)
    # In TIFF files with PhotometricInterpretation 0, 0 is white; Pillow forgets it at 16 bits.
    white_is_zero = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(262) == 0
    transform, profile, notes = _colour_transform(image.info.get("icc_profile"), kind)
    notes += _depth_notes(image.mode, kind)
    shape = (image.width, image.height) if orientation >= 5 else (image.height, image.width)
    native = np.empty((*shape, 3), np.uint8)
    alpha = np.empty(shape, np.uint8) if image.has_transparency_data else None
    separate = alpha is not None or (transform is not None and profile is not None)
    srgb = np.empty((*shape, 3), np.uint8) if separate else native
    stored_native, stored_srgb = stored(native, orientation), stored(srgb, orientation)
    for rows in _bands(image):
        band = image.crop((0, rows.start, image.width, rows.stop))
        colours, band_alpha = _split(band, kind, alpha is not None, white_is_zero)
        plain, shown = _rgb(colours, transform, profile)
        stored_native[rows] = plain
        if alpha is not None and band_alpha is not None:
            stored(alpha, orientation)[rows] = band_alpha
            shown = on_white(shown, band_alpha)
        if separate:
            stored_srgb[rows] = shown
    if alpha is not None and profile is None and bool((alpha == 255).all()):
        srgb = native
    return Planes(native=native, srgb=srgb, alpha=alpha, profile=profile, notes=tuple(notes))


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The view of an upright array in the axes of a file with this EXIF orientation.

    Writing stored pixels into the result puts them upright in ``upright`` without another copy.

    Args:
        upright: (H, W, ...) array.
        orientation: EXIF orientation 1 to 8.

    Returns:
        A view of ``upright``; (W, H, ...) for orientations 5 to 8.
    """
    swapped = upright.swapaxes(0, 1)
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: swapped,
        6: swapped[::-1],
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }[orientation]


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composite on a white ground, rounded to the nearest level.

    Args:
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8; 255 is opaque.

    Returns:
        (H, W, 3) uint8.
    """
    ground = Image.new("RGB", (rgb.shape[1], rgb.shape[0]), "white")
    ground.paste(Image.fromarray(rgb), mask=Image.fromarray(alpha))
    return np.asarray(ground)


def _kind(mode: str) -> str:
    if mode in _GREY_MODES:
        return "L"
    return mode if mode in ("CMYK", "LAB") else "RGB"


def _depth_notes(mode: str, kind: str) -> list[str]:
    if mode == "F":
        return ["float reduced to 8-bit"]
    if kind == "L" and mode.startswith("I"):
        return ["16-bit reduced to 8-bit"]
    return []


def _bands(image: Image.Image) -> Iterator[slice]:
    height = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, height):
        yield slice(top, min(top + height, image.height))


def _split(
    band: Image.Image, kind: str, has_alpha: bool, white_is_zero: bool
) -> tuple[Image.Image, np.ndarray | None]:
    """One band as 8-bit colours of its kind, and its alpha."""
    if band.mode == "F" or band.mode.startswith("I"):
        values = np.asarray(band)
        grey = _grey_8bit(values)
        transparent = values == band.info.get("transparency")
        alpha = np.where(transparent, 0, 255).astype(np.uint8) if has_alpha else None
        return Image.fromarray(255 - grey if white_is_zero else grey), alpha
    if not has_alpha:
        return (band if band.mode == kind else band.convert(kind)), None
    with_alpha = band.convert("LA" if kind == "L" else "RGBA")
    return with_alpha.convert(kind), np.asarray(with_alpha.getchannel("A"))


def _grey_8bit(values: np.ndarray) -> np.ndarray:
    """16-bit, [0, 1] float or 16-bit-in-32 grey to uint8, rounded to the nearest level."""
    if values.dtype.kind == "f":
        if np.isnan(values).any():  # getextrema does not see them
            raise ValueError("some float pixels are not numbers")
        return (values * 255 + 0.5).astype(np.uint8)
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _check_range(image: Image.Image) -> None:
    """Refuse grey values that do not say what white is.

    32-bit integers are taken for 16-bit values if they reach beyond 8 bits: smaller ones could be
    either.
    """
    if image.mode not in ("I", "F"):
        return
    low, high = cast(tuple[float, float], image.getextrema())
    if image.mode == "F" and not 0 <= low <= high <= 1:
        raise ValueError("float pixels outside 0..1 have no clear range")
    if image.mode == "I" and not (0 <= low and 255 < high <= 65535):
        raise ValueError("32-bit integer pixels have no clear range")


def _rgb(
    colours: Image.Image, transform: ImageCms.ImageCmsTransform | None, profile: bytes | None
) -> tuple[np.ndarray, np.ndarray]:
    """Native and shown (h, w, 3) uint8 of one band."""
    if transform is None:
        plain = np.asarray(colours.convert("RGB"))
        return plain, plain
    shown = np.asarray(transform.apply(colours))
    # Grey, CMYK and LAB have no RGB space of their own: they are released in sRGB.
    return (np.asarray(colours) if profile is not None else shown), shown


def _colour_transform(
    profile: bytes | None, kind: str
) -> tuple[ImageCms.ImageCmsTransform | None, bytes | None, list[str]]:
    """Transform to sRGB (None: nothing to do), the profile to keep, and notes."""
    if kind == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _to_srgb(lab, "LAB"), None, ["LAB converted to sRGB"]
    if not profile:
        return None, None, ["CMYK converted to sRGB without a profile"] if kind == "CMYK" else []
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space != _PROFILE_SPACE[kind]:
            raise ValueError(f"it is for {space} and the pixels are {_PROFILE_SPACE[kind]}")
        transform = _to_srgb(opened, kind)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        note = f"colour profile dropped: {error}"
        return (
            None,
            None,
            [note, *(["CMYK converted to sRGB without a profile"] if kind == "CMYK" else [])],
        )
    if kind == "RGB":
        return (None if _is_neutral(transform) else transform), profile, []
    return transform, None, [f"{'grey' if kind == 'L' else kind} converted to sRGB by its profile"]


def _to_srgb(
    source: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile, kind: str
) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        source, ImageCms.createProfile("sRGB"), kind, "RGB", ImageCms.Intent.PERCEPTUAL
    )


def _is_neutral(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether an RGB transform leaves every colour of a 16x16x16 grid within one level."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3)
    moved = np.asarray(transform.apply(Image.fromarray(grid)))
    return bool(np.abs(moved.astype(np.int16) - grid).max() <= _NEUTRAL_LEVELS)
