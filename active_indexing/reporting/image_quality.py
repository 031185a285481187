"""Tables from the files of a run; needs neither torch nor faiss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def quality_table(folders: dict[str, Path]) -> pd.DataFrame:
    """Measures (mean, standard deviation, minimum, maximum) of the released images of each run.

    Images that did not change have an infinite PSNR and are left out of its figures. Measures that a run has
    not (older runs, Butteraugli without its program) are left out.
    """
    rows = {}
    for name, folder in folders.items():
        manifest = pd.read_csv(folder / "manifest.csv")
        released = manifest[manifest["status"] == "released"]
        for figure in measures_of(released):
            values = released[figure].astype(float).replace(np.inf, np.nan).dropna()
            row = values.agg(["count", "mean", "std", "min", "max"])
            row["std"] = values.std(ddof=0)  # as in run.json
            rows[name, figure] = row
    return pd.DataFrame(rows).T


QUALITY_UNITS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "linf": "L∞ (grey levels)",
    "ssimulacra2": "SSIMULACRA2",
    "ciede2000_p99": "CIEDE2000, 99th percentile",
    "ciede2000_visible": "share over 2.3 CIEDE2000",
    "butteraugli": "Butteraugli, largest",
    "butteraugli_norm": "Butteraugli, 3-norm",
}
"""Measures of a manifest, and their names on axes."""


def measures_of(released: pd.DataFrame) -> list[str]:
    """Measures that rows of a manifest have: of every run PSNR, SSIM and L-inf, of others more."""
    always = ("psnr", "ssim", "linf")
    return [
        name
        for name in QUALITY_UNITS
        if name in always or (name in released and released[name].notna().any())
    ]


def worst_first(released: pd.DataFrame) -> pd.DataFrame:
    """Rows of a manifest by SSIMULACRA2, or by PSNR where an older run has none; the worst first."""
    by = "ssimulacra2" if "ssimulacra2" in measures_of(released) else "psnr"
    return released.sort_values(by, kind="stable")


def same_images(folders: dict[str, Path]) -> bool:
    """Whether all runs released the same images."""
    ids = []
    for folder in folders.values():
        manifest = pd.read_csv(folder / "manifest.csv")
        ids.append(set(manifest.loc[manifest["status"] == "released", "id"]))
    return all(each == ids[0] for each in ids)
