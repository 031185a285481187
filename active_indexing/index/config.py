"""Which index, trained from what and filled with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import at_least, one_of

METRICS = ("L2", "IP")


MOST_ENTRIES = 16
"""Entries per image for which edits were chosen, see ``entries.ENTRY_EDITS``."""


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Which index, trained from what and filled with what.

    Attributes:
        fts_training_path: descriptors (N, D) to train the index from, .pth, .pt or .npy; ``None``
            uses the embedded index.
        fts_reference_path: descriptors (N, D) added to the index before the protected images.
        idx_dir: folder of trained indexes.
        idx_factory: FAISS factory string. The default is the embedded index's factory
            (the published program's was IVF4096,PQ8x8).
        quant: ``L2`` or ``IP`` (inner product).
        nprobe: IVF cells visited per query.
        entries: codes per protected image, all under its id: what the method wants remembered, and
            descriptors of the first ``entries - 1`` of ``entries.ENTRY_EDITS``.
    """

    fts_training_path: Path | None = None
    fts_reference_path: Path | None = None
    idx_dir: Path = Path("indexes")
    idx_factory: str = "IVF1024,PQ8x8"
    quant: str = "L2"
    nprobe: int = 1
    entries: int = 1

    def __post_init__(self) -> None:
        one_of("quant", self.quant, METRICS)
        at_least("nprobe", self.nprobe, 1)
        if not 1 <= self.entries <= MOST_ENTRIES:
            raise ValueError(f"--entries must be from 1 to {MOST_ENTRIES}, got {self.entries}.")
