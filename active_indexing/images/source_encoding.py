"""How an image file stores its pixels: what a release in the same format can keep."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from PIL import JpegImagePlugin


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """What the file of a picture says about its own compression.

    Attributes:
        format: Pillow's name of the format, ``JPEG`` also for the two-picture JPEG of phones; empty when
            there was no file.
        tables: quantisation tables of a grey or colour JPEG by component, 64 steps each, row by row; the
            last table is also that of the components after it. Empty for everything else, CMYK included.
        subsampling: chroma subsampling of a colour JPEG, ``4:4:4``, ``4:2:2`` or ``4:2:0``; rarer layouts
            count as ``4:4:4``, the next finer one that can be written.
        progressive: a progressive JPEG.
        grey: a JPEG of one component, or a PNG of grey levels.
        lossless: a lossless WebP.
        size: bytes of the file; 0 when there was no file. No part of how pixels are stored.
    """

    format: str = ""
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: str = "4:4:4"
    progressive: bool = False
    grey: bool = False
    lossless: bool = False
    size: int = field(default=0, compare=False)


GREY_MODES = ("1", "L", "LA", "I;16", "I")  # Pillow's, of PNG files without colours


def source_file(image: Any, file: BinaryIO) -> SourceFile:
    """How this file stores its pixels.

    Args:
        image: the file opened by Pillow.
        file: the same file; its position is changed.
    """
    size = file.seek(0, os.SEEK_END)
    if image.format == "WEBP":
        return SourceFile(format="WEBP", lossless=_is_lossless_webp(file), size=size)
    if image.format not in ("JPEG", "MPO"):
        grey = image.format == "PNG" and image.mode in GREY_MODES
        return SourceFile(format=image.format or "", grey=grey, size=size)
    return SourceFile(
        format="JPEG",
        tables=_tables(image) if image.layers in (1, 3) else (),
        subsampling={1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "4:4:4"),
        progressive=bool(image.info.get("progressive")),
        grey=image.layers == 1,
        size=size,
    )


def _tables(image: Any) -> tuple[tuple[int, ...], ...]:
    """Tables of the components in their order, without the repeated ones at the end."""
    numbers = [component[3] for component in image.layer]
    while len(numbers) > 1 and numbers[-1] == numbers[-2]:
        numbers.pop()
    if not all(number in image.quantization for number in numbers):
        return ()
    return tuple(tuple(image.quantization[number]) for number in numbers)


def _is_lossless_webp(file: BinaryIO) -> bool:
    """Whether the first image chunk is a lossless one (RFC 9649, section 2)."""
    file.seek(12)  # RIFF, size, WEBP
    while len(head := file.read(8)) == 8:
        if head[:4] in (b"VP8L", b"VP8 "):
            return head[:4] == b"VP8L"
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, 1)
    return False
