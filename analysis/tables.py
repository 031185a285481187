"""Tables from the files of a run; needs neither torch nor faiss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

METRICS = ("r@1", "r@10", "r@100", "ap")


def read_run(folder: Path) -> dict[str, Any]:
    """``run.json`` of an output folder.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished run: no run.json. Run main.py --output_dir {folder}."
        )
    return json.loads(path.read_text())


def retrieval_table(folder: Path) -> pd.DataFrame:
    """Mean of each metric per attack, in the order of the CSV.

    Args:
        folder: output folder with ``retr_df.csv``.

    Returns:
        Indexed by (attack, attack_param), columns n, r@1, r@10, r@100, ap. A parameter-less attack has the
        parameter "".
    """
    columns = ["image_index", "attack", "attack_param", *METRICS]
    rows = pd.read_csv(
        folder / "retr_df.csv", usecols=columns, dtype={"attack_param": str}, keep_default_na=False
    )
    groups = rows.groupby(["attack", "attack_param"], sort=False)
    table = groups[list(METRICS)].mean()
    table.insert(0, "n", groups.size())
    return table


def comparison(folders: dict[str, Path], metric: str = "r@1") -> pd.DataFrame:
    """One metric per attack, one column per run, and the mean of attacks as the last row.

    Args:
        folders: name of the column -> output folder.
        metric: one of ``METRICS``.
    """
    columns = {name: retrieval_table(folder)[metric] for name, folder in folders.items()}
    table = pd.DataFrame(columns)
    table.loc[("mean of attacks", ""), :] = table.mean()
    return table


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
