"""Format and quality of released files."""

from __future__ import annotations

SAVE_FORMATS = ("png", "jpeg", "webp", "same")


def check_quality(quality: int, save_format: str) -> None:
    """Refuse a quality that is out of range, or that the format has no use for.

    Raises:
        ValueError: with the range, or the formats that have a quality.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"--save_quality must be from 1 to 100, got {quality}.")
    if save_format == "png":
        raise ValueError(
            "--save_quality is for JPEG and WebP, and --save_format png is lossless: leave it out, or choose "
            "--save_format jpeg, webp or same."
        )
