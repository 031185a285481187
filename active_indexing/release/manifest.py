"""Rows and figures of manifest.csv."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from active_indexing.records import ManifestRow

MEASURES = (
    "psnr",
    "ssim",
    "linf",
    "ssimulacra2",
    "ciede2000_p99",
    "ciede2000_visible",
    "butteraugli",
    "butteraugli_norm",
)


def manifest_row(row: ManifestRow) -> tuple[Any, ...]:
    """Values of ``ManifestRow.columns()``."""
    return tuple(getattr(row, column) for column in ManifestRow.columns())


def quality_table(rows: Iterable[ManifestRow]) -> dict[str, Any]:
    """Counts, and mean, standard deviation, minimum and maximum of the measures of released images.

    PSNR is infinite for images that did not change; those are counted apart and left out of its figures. A
    measure that no image has (Butteraugli without its program, what older runs did not measure) has none.
    """
    released, skipped = [], 0
    for row in rows:
        if row.status == "released":
            released.append([getattr(row, name) for name in MEASURES])
        else:
            skipped += 1
    values = np.array(released, dtype=np.float64).reshape(-1, len(MEASURES))
    table: dict[str, Any] = {"released": len(values), "skipped": skipped}
    table["unchanged"] = int(np.isinf(values[:, 0]).sum())
    for column, name in enumerate(MEASURES):
        finite = values[np.isfinite(values[:, column]), column]
        if len(finite):
            table[name] = {
                "mean": float(finite.mean()),
                "std": float(finite.std()),
                "min": float(finite.min()),
                "max": float(finite.max()),
            }
    return table
