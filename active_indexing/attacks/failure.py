"""How an attack says that it could not be applied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# A canvas of this many pixels takes 1 GiB: Pillow stores four bytes per RGB pixel.
MAX_CANVAS_PIXELS = 2**28

# These mean that our code or a library version is wrong, not that an image cannot be attacked.
_DEFECTS = (TypeError, AttributeError, NameError, ImportError)


class AttackFailed(Exception):
    """An attack that could not be applied to an image; ``str(error)`` is the reason, one line."""


@contextmanager
def failures_reported(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Turn whatever AugLy, Pillow or torchvision raise on an image into :class:`AttackFailed`.

    AugLy asserts its arguments and raises a bare ``Exception`` in one place, so no narrower list holds.
    Defects of the program (a missing name, a wrong type) pass through: they must stop the run.

    Args:
        name: the edit, for the reason.
        size: width and height of the image in pixels, for the reason.

    Raises:
        AttackFailed: in place of any other error about the image.
    """
    try:
        yield
    except (AttackFailed, *_DEFECTS):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise AttackFailed(f"{name} of a {size[0]}x{size[1]} image: {reason}") from error


def check_canvas(pixels: float) -> None:
    """Refuse an intermediate image that would not fit into memory.

    Padding a 1,000 x 60,000 scroll to a square takes 14 GB; a killed worker would end the whole run.

    Args:
        pixels: width x height of the largest image an edit is about to make.

    Raises:
        ValueError: if there are more than :data:`MAX_CANVAS_PIXELS`.
    """
    if pixels > MAX_CANVAS_PIXELS:
        allowed = MAX_CANVAS_PIXELS / 1e6
        raise ValueError(f"needs a canvas of {pixels / 1e6:.0f} megapixels, more than {allowed:.0f}")
