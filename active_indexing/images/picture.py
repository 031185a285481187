"""What a decoded image is: its pixels, its sRGB pixels, its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from active_indexing.images.source_encoding import SourceFile


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What travels from the source file to the released file besides pixels.

    Attributes:
        icc_profile: profile of the native RGB values, or None for sRGB.
        exif: EXIF block with the orientation reset, or None.
        xmp: XMP packet in UTF-8, or None.
        dpi: horizontal and vertical dots per inch, or None.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One decoded still image.

    Attributes:
        native: (H, W, 3) uint8, upright, in the file's own RGB colour space; what is released,
            plus the perturbation. Fully transparent pixels keep their colours.
        srgb: (H, W, 3) uint8 sRGB, alpha composited on white: what descriptor and attacks see.
            The same array as ``native`` when nothing differs.
        alpha: (H, W) uint8, or None for an opaque file.
        metadata: what goes back into the released file.
        notes: what decoding had to change, e.g. "16-bit reduced to 8-bit".
        file: how the file stored its pixels.
    """

    native: np.ndarray
    srgb: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    notes: tuple[str, ...]
    file: SourceFile = field(default_factory=SourceFile)
