"""Is a file a still image we can release? Answered from its header, before pixels are decoded."""

from __future__ import annotations

import importlib
import re
import stat
import threading
import warnings
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image, UnidentifiedImageError

# JPEG includes MPO, the two-picture JPEG of phones.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "DIB", "GIF", "JPEG2000")
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
_FORMATS_TEXT = "JPEG, PNG, WebP, TIFF, AVIF, BMP, GIF or JPEG 2000"
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)  # ISO 23008-12 major brands


class UnreadableImage(ValueError):
    """An input that cannot be released; ``str(error)`` is the reason, one sentence for people."""


class TooManyPixels(UnreadableImage):
    """An image that is larger than the caller takes."""


class _PillowSettings:
    """Pillow's process-wide settings as we need them, while any thread decodes.

    Its warnings are silent (an image is whole, or refused) and its pixel limit is off (ours is checked).
    Warnings of other modules are left alone: they may come from other threads.
    """

    _SILENT = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # what ``filterwarnings`` below makes

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                warnings.filterwarnings(action="ignore", module=r"PIL\.")
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                Image.MAX_IMAGE_PIXELS = self._limit
                filters = cast(list[Any], warnings.filters)
                if self._SILENT in filters:  # unless someone restored an older list meanwhile
                    filters.remove(self._SILENT)


quiet_pillow = _PillowSettings()


def suffixes() -> frozenset[str]:
    """Lower-case file name endings of the formats we read, with their dot."""
    Image.init()
    known = Image.registered_extensions().items()
    return HEIF_SUFFIXES | {suffix for suffix, name in known if name in (*FORMATS, "MPO")}


def one_line(error: object) -> str:
    """An error's text on one line, or its kind if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_file(path: Path) -> None:
    """Refuse what is not a regular file with bytes in it.

    Opening a named pipe would wait for ever, so the kind is checked before the file is opened.

    Raises:
        UnreadableImage: with the reason.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnreadableImage("no such file, or a link that leads nowhere") from None
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"the file cannot be opened ({one_line(error)})") from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage("a folder, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("not a regular file")
    if status.st_size == 0:
        raise UnreadableImage("the file is empty")


def open_still(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Open a file by its content, whatever its name, and check its header.

    Args:
        file: binary file at its beginning.
        max_pixels: largest width x height that may be decoded.

    Returns:
        An image whose pixels are not decoded yet.

    Raises:
        UnreadableImage: for other formats, animations, several pages, or too many pixels.
    """
    head = file.read(12)
    file.seek(0)
    heif = head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS
    try:
        image = Image.open(file, formats=_with_heif() if heif else FORMATS)
    except UnidentifiedImageError:
        reason = f"not a readable image in a supported format ({_FORMATS_TEXT})"
        raise UnreadableImage(reason) from None
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(f"{width}x{height} is more than the limit of {max_pixels:,} pixels")
    _refuse_several_frames(image)
    if image.format == "JPEG2000":
        _refuse_cut_codestream(file)
    return image


def cut_to_8_bit(image: Any) -> list[str]:
    """Notes on a colour file of 16 bits a channel, which Pillow cuts to 8 while it decodes.

    Must be called before the pixels are loaded.
    """
    raw_modes = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    if ";16" not in raw_modes or image.mode.startswith("I"):
        return []
    # The transparent colour is a 16-bit value: after the cut nothing can be compared with it.
    ignored = image.info.pop("transparency", None) is not None
    return ["16-bit reduced to 8-bit", *(["transparent colour ignored"] if ignored else [])]


def _with_heif() -> tuple[str, ...]:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        reason = "a HEIC file, which needs the pillow-heif package to be installed"
        raise UnreadableImage(reason) from None
    return (*FORMATS, "HEIF")


def _refuse_cut_codestream(file: BinaryIO) -> None:
    """Refuse a JPEG 2000 file without its end marker: missing tiles would be decoded as blank.

    Inside the codestream no FF is followed by more than 8F (ISO 15444-1, annex A), so the marker
    cannot be met by chance.
    """
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    if content.find(b"\xff\xd9", content.find(b"\xff\x4f\xff\x51")) < 0:
        raise UnreadableImage("damaged or truncated file (no end of the JPEG 2000 codestream)")


def _refuse_several_frames(image: Any) -> None:
    """Refuse animations and multi-page files.

    The second picture of a phone's JPEG (MPO) and the reduced copies inside a TIFF are neither.
    """
    frames = getattr(image, "n_frames", 1)
    if image.format == "MPO" or frames < 2:
        return
    if image.format != "TIFF":
        raise UnreadableImage(f"animated: {frames} frames; only still images can be released")
    pages = 0
    for frame in range(frames):
        image.seek(frame)
        pages += not image.tag_v2.get(254, 0) & 1  # NewSubfileType bit 0: a reduced copy
    image.seek(0)
    if pages > 1:
        raise UnreadableImage(f"{pages} pages; only single images can be released")
