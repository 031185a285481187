"""Format and quality of released files."""

from __future__ import annotations

from dataclasses import dataclass

SAVE_FORMATS = ("png", "jpeg", "webp", "same")
METADATA_MODES = ("keep", "strip-gps", "strip")


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


@dataclass(frozen=True, kw_only=True)
class ReleaseConfig:
    """How one image is released, besides how it is moved; checked by whoever made it.

    Attributes:
        active: move the image, or release it as it is.
        seed: seeds everything random.
        save_format: ``png``, ``jpeg``, ``webp`` or ``same``.
        save_quality: 1 to 100, of JPEG and lossy WebP; ``None``: the source's tables, or 90.
        metadata: ``keep``, ``strip-gps`` or ``strip``, see ``images.privacy``.
        entries: codes that the index will hold for the image.
        batch_size: images that are moved together on an accelerator.
    """

    active: bool = True
    seed: int = 0
    save_format: str = "png"
    save_quality: int | None = None
    metadata: str = "keep"
    entries: int = 1
    batch_size: int = 16
