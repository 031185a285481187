"""AugLy 1.0.0, mended for today's Pillow and NumPy; the only module that imports it.

The last release of AugLy is from March 2022. What is mended here, and nothing else:

- ``meme_format`` measures its caption with a Pillow method that Pillow 10 removed;
- ``perspective_transform`` uses ``numpy.float``, which NumPy 1.24 removed;
- ``overlay_text`` fails when a text holds a paragraph separator (U+000D or U+2029), which 21 of the 364
  fonts offer: Pillow's complex layout (raqm) refuses them. Pillow uses that layout only where it finds
  libfribidi; the basic layout has no such limit and gives the same pixels on every machine;
- ``overlay_onto_screenshot`` leaves its template and its box file open, and decodes the template every time;
- ``import augly`` needs libmagic, a system library, to recognise files that AugLy itself ships.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import mimetypes
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, ImageFont

from active_indexing.extras import MissingExtraError
from active_indexing.images.header import quiet_pillow
from active_indexing.seeding import fenced_global_rngs

AUGLY_VERSION = "1.0.0"
_LINE_SPACING = 4  # pixels between lines of text; Pillow's default


@functools.cache
def augly_image() -> Any:
    """The module ``augly.image``, imported and mended on the first call.

    Raises:
        ImportError: if AugLy is missing or is another version than the one the mends are made for.
    """
    _check_version()
    # The import itself draws from Python's global generator.
    with fenced_global_rngs(0), _libmagic_optional():
        functional: Any = importlib.import_module("augly.image.functional")
        image_utils: Any = importlib.import_module("augly.image.utils")
    functional.ImageFont = SimpleNamespace(truetype=_open_font)
    image_utils.compute_transform_coeffs = perspective_coefficients
    image_utils.get_template_and_bbox = read_template
    return importlib.import_module("augly.image")


def call(function: str, image: Image.Image, **arguments: Any) -> Image.Image:
    """Apply one AugLy function without touching the global random generators.

    Args:
        function: its name in ``augly.image``.
        image: RGB.
        arguments: passed on; give ``seed`` to the functions that take one.

    Returns:
        A new RGB image.
    """
    edit = getattr(augly_image(), function)
    with fenced_global_rngs(0):
        return edit(image, **arguments).convert("RGB")


@functools.cache
def fonts() -> tuple[str, ...]:
    """File names of the 364 fonts that AugLy ships, sorted."""
    return tuple(sorted(path.name for path in _folder("FONTS_DIR").glob("*.ttf")))


@functools.cache
def emojis() -> tuple[str, ...]:
    """Names of the 872 emojis that AugLy ships, as ``folder/file``, sorted."""
    folder = _folder("EMOJI_DIR")
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png")))


def font_path(name: str) -> str:
    """Full path of one of :func:`fonts`."""
    return str(_folder("FONTS_DIR") / name)


def emoji_path(name: str) -> str:
    """Full path of one of :func:`emojis`."""
    return str(_folder("EMOJI_DIR") / name)


def template_path(name: str) -> str:
    """Full path of a screenshot template that AugLy ships, ``web.png`` or ``mobile.png``."""
    return str(_folder("SCREENSHOT_TEMPLATES_DIR") / name)


def perspective_coefficients(
    corners: Sequence[tuple[float, float]], moved: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Coefficients of the perspective map that takes four moved corners back to the corners.

    With u = (a x + b y + c) / (g x + h y + 1) and v = (d x + e y + f) / (g x + h y + 1), each pair of points
    gives two equations that are linear in the eight coefficients.

    Args:
        corners: four points (u, v), pixels.
        moved: where they went, (x, y), pixels.

    Returns:
        (8,) float64: a, b, c, d, e, f, g, h, as Pillow's perspective transform expects.

    Raises:
        numpy.linalg.LinAlgError: (a ValueError) if three of the moved corners lie on a line.
    """
    rows = []
    for (u, v), (x, y) in zip(corners, moved, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return np.linalg.solve(np.array(rows, dtype=np.float64), np.array(corners, dtype=np.float64).reshape(8))


def read_template(template: str, boxes: str) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A screenshot template and the box in which the image appears.

    Args:
        template: path of the template image.
        boxes: path of a JSON file {file name of the template: [left, top, right, bottom]}.

    Returns:
        The template in RGB, and the box in pixels.
    """
    left, top, right, bottom = json.loads(Path(boxes).read_text(encoding="utf-8"))[Path(template).name]
    # Decoding took a third of all the time that the 15 attacks of a 0.15-megapixel photo took.
    return _decoded(template, Path(template).stat().st_mtime_ns).copy(), (left, top, right, bottom)


@functools.lru_cache(maxsize=2)
def _decoded(template: str, version: int) -> Image.Image:
    """RGB pixels of a template; ``version`` changes with the file."""
    with quiet_pillow, Image.open(template) as image:
        return image.convert("RGB")


class _Font(ImageFont.FreeTypeFont):
    """A font that can still be measured in the way AugLy asks."""

    def getsize_multiline(self, text: str) -> tuple[int, int]:
        """Width and height in pixels, as Pillow 9 computed them: every line is as high as an A."""
        lines = text.split("\n")
        boxes = [self.getbbox(line) for line in lines]
        width = max(right - left for left, _, right, _ in boxes)
        line_height = self.getbbox("A")[3] + _LINE_SPACING
        return int(width), int(len(lines) * line_height - _LINE_SPACING)


def _open_font(path: str, size: int) -> _Font:
    return _Font(path, size, layout_engine=ImageFont.Layout.BASIC)


def _check_version() -> None:
    try:
        found = importlib.metadata.version("augly")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != AUGLY_VERSION:
        raise MissingExtraError(
            f"the attacks need augly {AUGLY_VERSION}, found {found}; pip install 'active-indexing[attacks]' "
            "brings it."
        )


def _folder(constant: str) -> Path:
    augly_image()
    return Path(getattr(importlib.import_module("augly.utils"), constant))


@contextmanager
def _libmagic_optional() -> Iterator[None]:
    """Let ``import magic`` succeed inside the block on a machine without libmagic."""
    try:
        importlib.import_module("magic")
        missing = False
    except ImportError:
        missing = True
    if not missing:
        yield
        return
    stand_in: Any = ModuleType("magic", "Tells the type of a file from its name.")
    stand_in.from_file = _type_from_name
    sys.modules["magic"] = stand_in
    try:
        yield
    finally:
        del sys.modules["magic"]


def _type_from_name(filename: str, mime: bool = True) -> str:
    return mimetypes.guess_type(filename)[0] or "application/octet-stream"
