"""Tables from the files of a run; needs neither torch nor faiss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def quality_table(folders: dict[str, Path]) -> pd.DataFrame:
    """PSNR, SSIM and L-inf (mean, standard deviation, minimum, maximum) of the released images of each run.

    Images that did not change have an infinite PSNR and are left out of its figures.
    """
    rows = {}
    for name, folder in folders.items():
        manifest = pd.read_csv(folder / "manifest.csv")
        released = manifest[manifest["status"] == "released"]
        for figure in ("psnr", "ssim", "linf"):
            values = released[figure].replace(np.inf, np.nan).dropna()
            row = values.agg(["count", "mean", "std", "min", "max"])
            row["std"] = values.std(ddof=0)  # as in run.json
            rows[name, figure] = row
    return pd.DataFrame(rows).T


def same_images(folders: dict[str, Path]) -> bool:
    """Whether all runs released the same images."""
    ids = []
    for folder in folders.values():
        manifest = pd.read_csv(folder / "manifest.csv")
        ids.append(set(manifest.loc[manifest["status"] == "released", "id"]))
    return all(each == ids[0] for each in ids)
