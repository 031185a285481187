"""The images of a folder, and their ids."""

from __future__ import annotations

import hashlib
from pathlib import Path

from active_indexing.artefacts.identity import sha256_file
from active_indexing.images import listing
from active_indexing.records import PROTECTED_BASE, SourceImage


def content_id(source: Path | bytes) -> int:
    """Id of a protected image, in [2**62, 2**63), from the SHA-256 of its file's bytes.

    Equal files have one id, whatever their names. A file is read in constant memory.

    Args:
        source: the file, or its bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return id_of_sha256(
        hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_file(source)
    )


def id_of_sha256(sha256: str) -> int:
    """The same id, from the 64 hexadecimal digits; among a million files two share one once in 10**7."""
    return PROTECTED_BASE | (int(sha256[:16], 16) >> 2)


def protected_id(name: str) -> int:
    """Id from a name relative to the folder: while contents are unknown, and in runs of older programs."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return PROTECTED_BASE | (int.from_bytes(digest[:8], "big") >> 2)


def inventory(root: Path, exclude: Path | None = None) -> list[SourceImage]:
    """The images below a folder, sorted by name; none is opened, so their ids are those of their names.

    ``release.sources.identified`` gives them the ids of their contents.

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
