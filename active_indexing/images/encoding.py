"""Released images as bytes: the only place that encodes pixels.

A picture is encoded in memory, as often as a caller likes; ``images.read_bytes`` decodes the bytes again.
The same arguments give the same bytes, with the same version of Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from active_indexing.images.picture import Metadata, Picture
from active_indexing.images.source_encoding import SourceFile

ENDINGS = {"png": (".png",), "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"), "webp": (".webp",)}
"""Format -> lower-case endings that stand for it; the first one is given to new names."""

DEFAULT_QUALITY = 90
"""Of JPEG and lossy WebP when none is asked for and the source has no tables to keep; our choice."""

LARGEST_EDGE = {"jpeg": 65_500, "webp": 16_383}
"""Pixels: ``JPEG_MAX_DIMENSION`` of libjpeg, ``WEBP_MAX_DIMENSION`` of libwebp."""

_TITLES = {"jpeg": "JPEG", "webp": "WebP"}
# One APP1 marker holds 65,533 bytes (ITU-T T.81), 6 and 29 of them the names of EXIF and XMP.
_LONGEST_IN_JPEG = {"exif": 65_527, "xmp": 65_504}
_LARGEST_JPEG_DPI = 65_535  # two bytes of the JFIF header
_EXIF_NAME = b"Exif\x00\x00"
# zlib level: on 50 photos, level 1 took 24 ms and 349 kB each, level 6 took 58 ms and 335 kB.
_PNG_LEVEL = 1
# libwebp's effort: on 10 photos of 0.2 MP, quality 90, 2 took 13 ms and 44 kB, 4 took 26 ms and 44 kB;
# lossless, 0 took 7 ms and 236 kB, 4 took 63 ms and 216 kB.
_WEBP_LOSSY = {"method": 2}
_WEBP_LOSSLESS = {"lossless": True, "method": 0, "quality": 20}  # its quality is effort too


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Everything that decides how pixels become bytes.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``.
        quality: 1 to 100, of JPEG without ``tables`` and of lossy WebP; else ``None``.
        tables: JPEG quantisation tables in place of a quality, as in :class:`SourceFile`.
        subsampling: chroma subsampling of a colour JPEG.
        progressive: progressive JPEG.
        grey: JPEG of one component, the luma of the pixels; PNG of grey levels, where pixels have no colour.
        lossless: lossless WebP.
    """

    format: str
    quality: int | None = None
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: str = "4:2:0"
    progressive: bool = False
    grey: bool = False
    lossless: bool = False

    @property
    def is_lossless(self) -> bool:
        """Whether decoding gives the pixels back."""
        return self.lossless or self.format == "png"


@dataclass(frozen=True, kw_only=True)
class ReleasePlan:
    """How one picture will be released.

    Attributes:
        name: of its file.
        encoding: of its pixels.
        metadata: what of its metadata the format can hold.
        notes: what differs from what was asked for.
    """

    name: str
    encoding: Encoding
    metadata: Metadata
    notes: tuple[str, ...]


def format_of(name: str) -> str | None:
    """The format that the ending of a file name stands for, in any case; ``None`` for other endings."""
    ending = PurePosixPath(name).suffix.lower()
    return next((each for each, endings in ENDINGS.items() if ending in endings), None)


def encoding_for(
    source: SourceFile, format: str, quality: int | None = None, *, keep_lossless: bool = False
) -> Encoding:
    """The encoding of a picture that is released in this format.

    Without a quality, a JPEG of a JPEG keeps the quantisation tables, the chroma subsampling and the
    progressive mode of its source. Grey JPEG stays grey JPEG, at any quality: its release holds the luma.
    Everything else that is lossy gets ``DEFAULT_QUALITY`` and, in JPEG, 4:2:0.

    Args:
        source: the file that the picture was decoded from.
        format: ``png``, ``jpeg`` or ``webp``.
        quality: 1 to 100, or ``None``; PNG and lossless WebP have none.
        keep_lossless: WebP of a lossless WebP is lossless.
    """
    if format == "png":
        return Encoding(format="png", grey=source.grey)
    if format == "webp" and keep_lossless and source.lossless:
        return Encoding(format="webp", lossless=True)
    if format == "jpeg" and quality is None and source.tables:
        return Encoding(
            format="jpeg",
            tables=source.tables,
            subsampling=source.subsampling,
            progressive=source.progressive,
            grey=source.grey,
        )
    grey = format == "jpeg" and source.grey
    return Encoding(format=format, quality=DEFAULT_QUALITY if quality is None else quality, grey=grey)


def plan(
    picture: Picture, names: Sequence[str], quality: int | None = None, *, keep_lossless: bool = False
) -> ReleasePlan:
    """Name, encoding and metadata of a picture's release.

    Args:
        picture: the picture.
        names: names reserved for it: in the format that is wanted, and, unless that is PNG, in PNG.
        quality: as in :func:`encoding_for`.
        keep_lossless: as in :func:`encoding_for`.

    Returns:
        The plan. What the wanted format cannot hold, transparency or size, is released as PNG under the
        second name, with a note.
    """
    name, notes = names[0], []
    obstacle = _obstacle(picture, str(format_of(name)))
    if obstacle:
        name = names[-1]
        notes.append(f"released as PNG: {obstacle}")
    chosen = str(format_of(name))
    metadata = _fitting(picture.metadata, chosen, notes)
    encoding = encoding_for(picture.file, chosen, quality, keep_lossless=keep_lossless)
    return ReleasePlan(name=name, encoding=encoding, metadata=metadata, notes=tuple(notes))


def encode(native: np.ndarray, alpha: np.ndarray | None, metadata: Metadata, encoding: Encoding) -> bytes:
    """A whole image file in memory.

    Args:
        native: (H, W, 3) uint8 in the RGB space of ``metadata.icc_profile``.
        alpha: (H, W) uint8, or None for an opaque file. JPEG takes only an opaque plane, and drops it.
        metadata: profile, EXIF, XMP and resolution to write; WebP says the resolution in EXIF, and only
            if there is no EXIF yet.
        encoding: format and compression.

    Raises:
        ValueError: if shapes or dtypes are not as described, the format cannot hold the picture, or an
            EXIF or XMP block is too long for JPEG.
    """
    _check_plane("native", native, (*native.shape[:2], 3))
    if alpha is not None:
        _check_plane("alpha", alpha, native.shape[:2])
    if encoding.format == "jpeg":
        if not _is_opaque(alpha):
            raise ValueError("JPEG holds no transparency; encode this image as PNG or WebP")
        return _jpeg(native, metadata, encoding)
    pixels = Image.fromarray(native if alpha is None else np.dstack([native, alpha]))
    if encoding.format == "webp":
        return _webp(pixels, metadata, encoding)
    if encoding.grey and metadata.icc_profile is None and _has_no_color(native):
        pixels = pixels.convert("L" if alpha is None else "LA")
    return _png(pixels, metadata)


def _has_no_color(native: np.ndarray) -> bool:
    return bool((native[..., 0] == native[..., 1]).all() and (native[..., 0] == native[..., 2]).all())


def _png(pixels: Image.Image, metadata: Metadata) -> bytes:
    text = PngImagePlugin.PngInfo()
    if metadata.xmp is not None:
        text.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    fields = {"icc_profile": metadata.icc_profile, "exif": metadata.exif, "dpi": metadata.dpi}
    return _saved(pixels, "PNG", compress_level=_PNG_LEVEL, pnginfo=text, **fields)


def _jpeg(native: np.ndarray, metadata: Metadata, encoding: Encoding) -> bytes:
    pixels = Image.fromarray(native)
    options: dict[str, Any] = {"xmp": metadata.xmp, "icc_profile": metadata.icc_profile}
    if encoding.grey:
        pixels = pixels.convert("L")
    else:
        options["subsampling"] = encoding.subsampling
    if encoding.tables:
        options["qtables"] = encoding.tables
    else:
        options["quality"] = encoding.quality
    if metadata.exif is not None:
        options["exif"] = _EXIF_NAME + metadata.exif.removeprefix(_EXIF_NAME)
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    if encoding.progressive:
        try:
            return _saved(pixels, "JPEG", progressive=True, **options)
        except OSError:  # noise at the finest tables outgrows Pillow's buffer; the same pixels, in one scan
            pass
    return _saved(pixels, "JPEG", **options)


def _webp(pixels: Image.Image, metadata: Metadata, encoding: Encoding) -> bytes:
    exif = metadata.exif
    if exif is None and metadata.dpi is not None:
        exif = _resolution_block(metadata.dpi)
    options = _WEBP_LOSSLESS if encoding.lossless else {**_WEBP_LOSSY, "quality": encoding.quality}
    blocks = {"icc_profile": metadata.icc_profile, "exif": exif, "xmp": metadata.xmp}
    found = {name: block for name, block in blocks.items() if block is not None}
    return _saved(pixels, "WEBP", exact=True, **options, **found)  # exact: hidden colours are kept


def _saved(pixels: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    pixels.save(file, kind, **options)
    return file.getvalue()


def _obstacle(picture: Picture, format: str) -> str | None:
    """Why a picture cannot be a file of this format, if so."""
    height, width = picture.native.shape[:2]
    largest = LARGEST_EDGE.get(format)
    if largest is not None and max(height, width) > largest:
        return f"{width}x{height} is more than the {largest:,} pixels a side of {_TITLES[format]}"
    if format == "jpeg" and not _is_opaque(picture.alpha):
        return "JPEG holds no transparency"
    return None


def _fitting(metadata: Metadata, format: str, notes: list[str]) -> Metadata:
    """The metadata without what JPEG has no room for; notes are added about it."""
    if format != "jpeg":
        return metadata
    for name, longest in _LONGEST_IN_JPEG.items():
        block = getattr(metadata, name)
        if block is not None and len(block.removeprefix(_EXIF_NAME)) > longest:
            notes.append(f"{name.upper()} left out: {len(block):,} bytes are too many for JPEG")
            metadata = replace(metadata, **{name: None})
    if metadata.dpi is not None and max(metadata.dpi) > _LARGEST_JPEG_DPI:
        notes.append(f"resolution left out: JPEG holds at most {_LARGEST_JPEG_DPI:,} dots per inch")
        metadata = replace(metadata, dpi=None)
    return metadata


def _resolution_block(dpi: tuple[float, float]) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.XResolution], tags[ExifTags.Base.YResolution] = dpi
    tags[ExifTags.Base.ResolutionUnit] = 2  # inch
    return tags.tobytes()


def _is_opaque(alpha: np.ndarray | None) -> bool:
    return alpha is None or bool((alpha == 255).all())


def _check_plane(name: str, plane: np.ndarray, shape: tuple[int, ...]) -> None:
    if plane.dtype != np.uint8 or plane.shape != shape or plane.size == 0:
        raise ValueError(f"{name} must be uint8 of shape {shape}, got {plane.dtype} {plane.shape}")
