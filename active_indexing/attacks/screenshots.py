"""Templates in which a copy appears as part of a screenshot: AugLy's two, or the user's own image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from active_indexing.attacks import augly_compat
from active_indexing.checks import regular_file
from active_indexing.images import decoding
from active_indexing.images.header import UnreadableImage

BUILT_IN = ("web", "mobile")  # 1200x736 with box (254, 424, 783, 710); 414x736 with box (27, 411, 389, 689)


def check_template(template: str) -> str:
    """Check a screenshot template before any work starts.

    An own template is an image file, with the box beside it in a JSON file of the same stem that holds
    ``{"<file name>": [left, top, right, bottom]}``, in pixels of the template.

    Args:
        template: ``web``, ``mobile`` or the path of an image file.

    Returns:
        The name, or the absolute path of the file.

    Raises:
        FileNotFoundError: if it is neither a name nor a file, or if the file with the box is missing.
        ValueError: if the file is no image, or the box is not inside it.
    """
    if template in BUILT_IN:
        return template
    path = Path(template).absolute()
    if not path.exists():
        raise FileNotFoundError(
            f"no screenshot template {template!r}: give {' or '.join(BUILT_IN)}, or the path of an image file"
        )
    regular_file(path, "screenshot template", "give the path of an image file")
    width, height = _size(path)
    _check_box(path, width, height)
    return str(path)


def locate(template: str) -> tuple[str, str]:
    """Paths of a checked template and of the JSON file with its box."""
    if template in BUILT_IN:
        return augly_compat.template_path(f"{template}.png"), augly_compat.template_path("bboxes.json")
    return template, str(Path(template).with_suffix(".json"))


def _size(path: Path) -> tuple[int, int]:
    try:
        height, width = decoding.read(path).srgb.shape[:2]
    except UnreadableImage as error:
        raise ValueError(
            f"the screenshot template {path} is not an image that can be used: {error}"
        ) from error
    return width, height


def _check_box(path: Path, width: int, height: int) -> None:
    sidecar = path.with_suffix(".json")
    wanted = (
        f'write {{"{path.name}": [left, top, right, bottom]}} into {sidecar}, '
        f"the box in which the image appears, in pixels of the {width}x{height} template"
    )
    if not sidecar.exists():
        raise FileNotFoundError(f"the screenshot template {path} has no box: {wanted}")
    regular_file(sidecar, "box of the screenshot template", wanted)
    try:
        box = json.loads(sidecar.read_text(encoding="utf-8"))[path.name]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{sidecar} does not hold the box of {path.name}: {wanted}") from error
    if not _is_inside(box, width, height):
        raise ValueError(f"{sidecar} holds {box!r}, which is no box inside the template: {wanted}")


def _is_inside(box: Any, width: int, height: int) -> bool:
    if not (isinstance(box, list) and len(box) == 4 and all(type(edge) is int for edge in box)):
        return False
    left, top, right, bottom = box
    return 0 <= left < right <= width and 0 <= top < bottom <= height
