"""The images of a folder with their ids."""

from __future__ import annotations

import hashlib
from pathlib import Path

from active_indexing.images import listing
from active_indexing.records import PROTECTED_BASE, SourceImage


def protected_id(name: str) -> int:
    """Id of a protected image, in [2**62, 2**63), from its name relative to the folder."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return PROTECTED_BASE | (int.from_bytes(digest[:8], "big") >> 2)


def inventory(root: Path, exclude: Path | None = None) -> list[SourceImage]:
    """The images below a folder, sorted by name.

    Args:
        root: folder searched recursively, or one image file.
        exclude: folder that is left out, when it lies below ``root``.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        ValueError: two names with one id (a chance of 1 in 10**12 for a million images).
    """
    base = root if root.is_dir() else root.parent
    sources = []
    for path in listing.find_images(root, exclude):
        name = path.relative_to(base).as_posix()
        sources.append(SourceImage(protected_id(name), path, name))
    if not sources:
        raise FileNotFoundError(
            f"no images in {root}: looked, in sub-folders too, for files that end like images."
        )
    if len({source.id for source in sources}) != len(sources):
        raise ValueError(f"two images below {root} have one id; rename one of them.")
    return sources
