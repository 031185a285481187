"""What travels between the stages: images with their ids, and the rows that the files are made of."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np

from active_indexing import images

PROTECTED_BASE = 1 << 62
"""Ids of protected images start here; ids of references are their row numbers, far below."""

NO_MATCH = -1
"""``image_index`` of a query that has no match in the index."""


@dataclass(frozen=True)
class SourceImage:
    """One image of the user's folder.

    Attributes:
        id: 63-bit id made from ``name`` alone, so that it does not depend on the other files.
        path: where it lies.
        name: path relative to the folder, with ``/`` between parts.
    """

    id: int
    path: Path
    name: str


@dataclass(frozen=True)
class ManifestRow:
    """One row of ``manifest.csv``.

    Attributes:
        id: id in the index.
        source: path of the input.
        released: path of the released file, relative to the output folder; empty when skipped.
        status: ``released`` or ``skipped``.
        reason: why it was skipped, or what decoding had to change.
        width: pixels, of the upright image.
        height: pixels.
        psnr: dB, released file against the input's pixels; ``inf`` when equal.
        ssim: structural similarity of the same two.
        linf: largest change, in grey levels.
        cell_before: IVF cell of the input's descriptor; empty without cells.
        cell_after: IVF cell of the released file's descriptor.
    """

    id: int
    source: str
    released: str = ""
    status: str = "skipped"
    reason: str = ""
    width: int | None = None
    height: int | None = None
    psnr: float | None = None
    ssim: float | None = None
    linf: int | None = None
    cell_before: int | None = None
    cell_after: int | None = None

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in fields(cls))


@dataclass(frozen=True, eq=False)
class QueryRow:
    """One attacked copy and what the index answered.

    Attributes:
        image_index: id of the image that it is a copy of, or ``NO_MATCH``.
        attack: name of the attack.
        attack_param: its parameter as text; empty when it has none.
        ids: (n,) int64 retrieved ids, best first.
        distances: (n,) float32, as the index gives them.
    """

    image_index: int
    attack: str
    attack_param: str
    ids: np.ndarray
    distances: np.ndarray

    @property
    def rank(self) -> int | None:
        """Place of the right answer, from 0; ``None`` when it was not retrieved."""
        places = np.flatnonzero(self.ids == self.image_index)
        return int(places[0]) if len(places) else None


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
    for path in images.find_images(root, exclude):
        name = path.relative_to(base).as_posix()
        sources.append(SourceImage(protected_id(name), path, name))
    if not sources:
        raise FileNotFoundError(
            f"no images in {root}: looked, in sub-folders too, for files that end like images."
        )
    if len({source.id for source in sources}) != len(sources):
        raise ValueError(f"two images below {root} have one id; rename one of them.")
    return sources


def released_names(sources: Iterable[SourceImage], taken: dict[int, str]) -> dict[int, str]:
    """Name of each released PNG below ``imgs/``: the input's, with the ending .png.

    Inputs of one folder that differ only in their ending keep it (``a.jpg`` and ``a.webp`` become
    ``a.jpg.png`` and ``a.webp.png``). Names compare without case and Unicode form, as on some file systems,
    and a file never takes the name of a folder.

    Args:
        sources: all inputs.
        taken: id -> name of images released earlier; they keep their names, and nobody else gets them.

    Returns:
        id -> name, of ``sources`` and ``taken``.
    """
    sources = list(sources)
    pending = [source for source in sources if source.id not in taken]
    plain = {source.id: PurePosixPath(source.name).with_suffix(".png").as_posix() for source in pending}
    count = Counter(_folded(name) for name in [*plain.values(), *taken.values()])
    names, used = dict(taken), {_folded(name) for name in taken.values()}
    used |= {_folded(str(folder)) for source in sources for folder in PurePosixPath(source.name).parents}
    # PNG inputs first: each has a right to its own name.
    for source in sorted(pending, key=lambda source: source.name != plain[source.id]):
        own = plain[source.id] == source.name
        alone = count[_folded(plain[source.id])] == 1
        name = plain[source.id] if own or alone else source.name + ".png"
        if _folded(name) in used:
            name = f"{source.name}.{source.id}.png"
        used.add(_folded(name))
        names[source.id] = name
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
