"""What the database holds of an image, and what it is told of a new one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RELEASED = "released"
REMOVED = "removed"


@dataclass(frozen=True)
class Manifest:
    """Content Credentials of a released file, which its copies have lost.

    Attributes:
        id: of the active manifest, ``urn:c2pa:...``.
        content: the C2PA manifest store (JUMBF), as it lies in the file.
    """

    id: str
    content: bytes


@dataclass(frozen=True, eq=False)
class NewImage:
    """A released image that is on the disk and waits for its row.

    Attributes:
        id: 63-bit id made from the content of the source, see
            :func:`active_indexing.images.inventory.id_of_sha256`.
        source: path of the source, for people.
        source_sha256: of the source's bytes, 64 hexadecimal digits.
        released: path of the released file, relative to the store, or absolute when it is kept elsewhere.
        released_sha256: of its bytes.
        size: of its bytes.
        width: pixels.
        height: pixels.
        psnr: dB against the input, ``inf`` when equal.
        ssim: structural similarity.
        linf: largest change in grey levels.
        quality: further columns of the manifest, JSON-serialisable.
        descriptor: (D,) float32 of the released file, unit norm.
        entries: (K, D) float32, what the index remembers.
        manifest: of a file that was signed.
    """

    id: int
    source: str
    source_sha256: str
    released: str
    released_sha256: str
    size: int
    width: int
    height: int
    psnr: float
    ssim: float
    linf: float
    descriptor: np.ndarray
    entries: np.ndarray
    quality: dict[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None


@dataclass(frozen=True)
class StoredImage:
    """A row of the database.

    Attributes:
        seq: place in the order of arrival, from 1; never used twice.
        id: 63-bit id.
        source: path of the source when it was released.
        source_sha256: of its bytes.
        released: path of the released file, as in :class:`NewImage`.
        released_sha256: of its bytes.
        size: of its bytes.
        width: pixels.
        height: pixels.
        psnr: dB.
        ssim: structural similarity.
        linf: grey levels.
        cell: IVF cell of its first code.
        run: number of the run that released it.
        released_at: UTC time, ISO 8601.
        status: ``released`` or ``removed``.
        removed_at: when it was removed, else ``None``.
    """

    seq: int
    id: int
    source: str
    source_sha256: str
    released: str
    released_sha256: str
    size: int
    width: int
    height: int
    psnr: float
    ssim: float
    linf: float
    cell: int
    run: int
    released_at: str
    status: str
    removed_at: str | None

    def path(self, folder: Path) -> Path:
        """Where the released file is, for a store in ``folder``."""
        return folder / self.released

    @property
    def is_inside(self) -> bool:
        """Whether the store keeps the file itself."""
        return not Path(self.released).is_absolute()
