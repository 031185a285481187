"""Which index, trained from what and filled with what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from active_indexing.checks import at_least, one_of, setting

METRICS = ("L2", "IP")


MOST_ENTRIES = 16
"""Entries per image for which edits were chosen, see ``entries.ENTRY_EDITS``."""


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Which index, trained from what and filled with what.

    Every field is a flag of the same name; its ``help`` says what it means.
    """

    fts_training_path: Path | None = setting(
        None, "descriptors (N, D) to train the index from, .pth, .pt or .npy (default: embedded index)"
    )
    fts_reference_path: Path | None = setting(
        None,
        "descriptors (N, D) that the index holds before the protected images (default: those of the "
        "embedded index)",
    )
    idx_dir: Path = setting(Path("indexes"), "folder of trained indexes")
    idx_factory: str = setting("IVF1024,PQ32x8", "FAISS factory string")
    quant: str = setting(
        "L2", "metric of the index: squared L2 distance, or inner product (IP)", choices=METRICS
    )
    nprobe: int = setting(16, "IVF cells of the index visited per query (published: 1)")
    entries: int = setting(
        1,
        "codes that the index holds per protected image, all under its id, 1 to 16: more find more "
        "edited copies",
    )

    def __post_init__(self) -> None:
        one_of("quant", self.quant, METRICS)
        at_least("nprobe", self.nprobe, 1)
        if not 1 <= self.entries <= MOST_ENTRIES:
            raise ValueError(f"--entries must be from 1 to {MOST_ENTRIES}, got {self.entries}.")
