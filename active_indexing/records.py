"""What travels between the stages: images with their ids, and the rows that the files are made of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

PROTECTED_BASE = 1 << 62
"""Ids of protected images start here; ids of references are their row numbers, far below."""

NO_MATCH = -1
"""``image_index`` of a query that has no match in the index."""


@dataclass(frozen=True)
class SourceImage:
    """One image of the user's folder.

    Attributes:
        id: 63-bit id made from the file's contents; from its name while these are unknown.
        path: where it lies.
        name: path relative to the folder, with ``/`` between parts.
        sha256: of the file's bytes when ``id`` was given; empty: unknown.
        slot: what its released file goes by when another file of the same contents goes by ``id``.
    """

    id: int
    path: Path
    name: str
    sha256: str = ""
    slot: int | None = None

    @property
    def key(self) -> int:
        """Tells its released file from all others; ``id``, but for further copies of the same file."""
        return self.id if self.slot is None else self.slot


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
        psnr: dB, released file against the same image encoded in the same way without activation (for PNG the
            input); ``inf`` when equal.
        ssim: structural similarity of the same two.
        linf: largest change, in grey levels.
        ssimulacra2: of the same two, 100 when equal; 90 is visually lossless, 70 high quality.
        ciede2000_p99: 99th percentile of CIEDE2000 after a Gaussian of 4 pixels.
        ciede2000_visible: share of the image where it is over 2.3, just noticeable.
        butteraugli: largest of any place; empty where ``butteraugli_main`` is not installed, and for images
            of more than 2 megapixels.
        butteraugli_norm: 3-norm over all places, where ``butteraugli`` is.
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
    ssimulacra2: float | None = None
    ciede2000_p99: float | None = None
    ciede2000_visible: float | None = None
    butteraugli: float | None = None
    butteraugli_norm: float | None = None
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


@dataclass(frozen=True)
class Failure:
    """An attack that could not be applied; its query is in no CSV but ``failures.csv``."""

    stage: str
    image_index: int
    path: Path
    attack: str
    attack_param: str
    reason: str
